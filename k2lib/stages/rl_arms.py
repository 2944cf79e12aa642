"""RL trainings of one model that differ in one thing: objective, pull, PTX, temperature, budget, problems (section 3.2).

Every arm plays as many episodes. One examination asks them all: held-out problems of every family with the training's budget and
with a roomy one, sixteen answers each for pass@k, and what RL does not train: other puzzles, tasks with tools, questions about
people, and text.
"""

import json
import random
from dataclasses import asdict, replace
from pathlib import Path

from k2lib.evaluate import suite
from k2lib.gym.budgeted import Budgeted
from k2lib.gym.knowledge import Knowledge
from k2lib.gym.mixture import several
from k2lib.gym.play import Played, play
from k2lib.profiles import Profile
from k2lib.progress import Progress, silent
from k2lib.rl.trainer import train_rl
from k2lib.stages.corpus import Corpus, corpus
from k2lib.stages.sft_data import SFTData, sft_data
from k2lib.stages.stage import stage
from k2lib.stages.training import snapshot
from k2lib.stages.warmup import ASIDE, LEARNED, warmed_up, worked
from k2lib.train import Checkpoint, finetune

PTX = 1  # packed sequences of demonstrations in an update's auxiliary loss
ROOM = 4  # times the budget of training
SAMPLES = 16  # answers of a held-out problem, for pass@k
ASKED = 100  # questions about people
SHOWN = 4  # of the SAMPLES, kept as they were said

TIGHT = "a tight budget"  # of each problem: what its worked answer takes

RL_ARMS: dict[str, dict] = {
    "K2": {},
    "GRPO": {"objective": "grpo"},
    "REINFORCE": {"objective": "reinforce"},
    "rejection sampling": {"objective": "rejection"},
    "a weak pull": {"tau": 0.01},
    "without PTX": {"ptx_weight": 0.0},
    "hot throughout": {"temperature": (1.0, 1.0)},
    "cool throughout": {"temperature": (0.7, 0.7)},
    "every problem": {"moderate": False},
    TIGHT: {},
}


def rl_arm(profile: Profile, name: str, seed: int = 0, run: int = 0, progress: Progress = silent) -> dict:
    """What `examined` says of the arm `name` of RL_ARMS, and the history of its training; `run` draws problems and samples.

    All arms and runs start from the model that is `warmed_up`.
    """
    start, data = warmed_up(profile, seed, progress), sft_data(profile, seed, progress)
    size, text = replace(profile.rl_arms.rl, **RL_ARMS[name]), corpus(profile, seed, progress)

    def make(directory: Path) -> None:
        model, tokenizer, state = start.model, start.tokenizer, snapshot(f"rl-arm-{run}", directory)
        ptx = None
        if size.ptx_weight:
            rows, _ = finetune.encode_rows(worked(profile.rl_arms.worked, data, seed), tokenizer, profile.sft.seq_len)
            ptx = finetune.batches(rows, PTX, profile.sft.seq_len, tokenizer.pad_id, run)
        problems = several(LEARNED, size.candidates, 1000 + run)
        if name == TIGHT:
            problems = [Budgeted(one, len(tokenizer.encode(one.answer)) + 1) for one in problems]
        result = train_rl(model, tokenizer, problems, [], ptx, size, seed=run, progress=progress, snapshot=state)
        found = examined(Checkpoint(model, tokenizer, {}, directory), profile, data, text, seed)
        (directory / "result.json").write_text(json.dumps(found | asdict(result)), encoding="utf-8")
        state.path.unlink(missing_ok=True)

    key = {"size": asdict(size), "arm": name, "start": start.dir.parent.name, "seed": seed, "run": run}
    key |= _examination(profile)
    path = stage(f"rl-arm-{run}", key, make)
    return json.loads((path / "result.json").read_text(encoding="utf-8"))


def rl_start(profile: Profile, seed: int = 0, progress: Progress = silent) -> dict:
    """What `examined` says of the model that every arm starts from."""
    start, data = warmed_up(profile, seed, progress), sft_data(profile, seed, progress)
    text = corpus(profile, seed, progress)

    def make(directory: Path) -> None:
        (directory / "result.json").write_text(json.dumps(examined(start, profile, data, text, seed)), encoding="utf-8")

    key = {"start": start.dir.parent.name, "seed": seed} | _examination(profile)
    return json.loads((stage("rl-start", key, make) / "result.json").read_text(encoding="utf-8"))


def _examination(profile: Profile) -> dict:
    size = profile.rl_arms
    return {"asked": size.asked, "tasks": size.tasks, "judged_on": profile.judged_on}


def examined(one: Checkpoint, profile: Profile, data: SFTData, text: Corpus, seed: int) -> dict:
    """{"kinds", "solved": right answers of SAMPLES, "greedy", "roomy", "tokens": [problem], "knowledge": [question],
    "tasks": [task with tools], "perplexity", "asks": [problem], "said": [problem][SHOWN] answers, "right": [problem][SHOWN]}."""
    pair, names = (one.model, one.tokenizer), LEARNED + ASIDE
    heldout = several(names, profile.rl_arms.asked * len(names), seed, profile.judged_on)
    people = [qa for person in text.world.of("train") for qa in text.world.questions(person)]
    asked = list(map(Knowledge, random.Random(seed).sample(people, min(ASKED, len(people)))))
    sampled = play(*pair, heldout, samples=SAMPLES, temperature=1.0)
    roomy = [Budgeted(problem, ROOM * problem.budget) for problem in heldout]
    tokens = text.dataset.tokens("heldout")[: profile.evaluate.perplexity_tokens]
    return {
        "kinds": [problem.kind for problem in heldout],
        "solved": [sum(episode.solved for episode in group) for group in sampled],
        "greedy": [group[0].solved for group in play(*pair, heldout)],
        "roomy": [group[0].solved for group in play(*pair, roomy)],
        "tokens": [sum(sum(episode.mask) for episode in group) / SAMPLES for group in sampled],
        "knowledge": suite.solved(*pair, asked).per_item,
        "tasks": suite.solved(*pair, data.heldout[: profile.rl_arms.tasks]).per_item,
        "perplexity": suite.perplexity(one.model, tokens, profile.pretrain.seq_len).value,
        "asks": [problem.messages[-1]["content"] for problem in heldout],
        "said": [[_said(episode) for episode in group[:SHOWN]] for group in sampled],
        "right": [[episode.solved for episode in group[:SHOWN]] for group in sampled],
    }


def _said(one: Played) -> str:
    return "" if one.truncated else str(one.episode.messages[-1].get("content") or "")

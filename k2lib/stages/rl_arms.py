"""RL trainings of one fine-tuned model that differ in one thing: objective, pull, PTX, temperature, budget, problems (section 3.2).

Every arm plays as many episodes. One examination asks them all: held-out problems of every family with the training's budget and
with a roomy one, sixteen answers each for pass@k, and what RL does not train: questions about people, and text.
"""

import json
import random
from dataclasses import asdict, replace
from pathlib import Path

from k2lib.evaluate import suite
from k2lib.gym.knowledge import Knowledge
from k2lib.gym.mixture import verifiable
from k2lib.gym.play import play
from k2lib.gym.problem import Problem
from k2lib.gym.roomy import Roomy
from k2lib.profiles import Profile
from k2lib.progress import Progress, silent
from k2lib.rl.trainer import train_rl
from k2lib.stages.corpus import Corpus, corpus
from k2lib.stages.sft import sft
from k2lib.stages.sft_data import sft_data
from k2lib.stages.stage import stage
from k2lib.stages.training import snapshot
from k2lib.train import Checkpoint, finetune, load_checkpoint, save_checkpoint

PTX = 2  # packed sequences of demonstrations in an update's auxiliary loss
ROOM = 4  # times the budget of training
SAMPLES = 16  # answers of a held-out problem, for pass@k
ASKED = 100  # questions about people

RL_ARMS: dict[str, dict] = {
    "K2": {},
    "GRPO": {"objective": "grpo"},
    "REINFORCE": {"objective": "reinforce"},
    "rejection sampling": {"objective": "rejection"},
    "a weak pull": {"tau": 0.01},
    "a strong pull": {"tau": 1.0},
    "without PTX": {"ptx_weight": 0.0},
    "hot throughout": {"temperature": (1.0, 1.0)},
    "cool throughout": {"temperature": (0.7, 0.7)},
    "no penalty": {"overlong": 0.0},
    "every problem": {"moderate": False},
    "easy to hard": {"sampling": "curriculum"},
    "by what fails": {"sampling": "prioritised"},
}


def rl_arm(profile: Profile, name: str, seed: int = 0, run: int = 0, progress: Progress = silent) -> dict:
    """What `examined` says of the arm `name` of RL_ARMS, and the history of its training; `run` draws problems and samples.

    All arms and runs start from the fine-tuned model of run 0.
    """
    start, data, size = (
        sft(profile, seed, 0, progress),
        sft_data(profile, seed, progress),
        replace(profile.rl, **RL_ARMS[name]),
    )
    text, kinds = (
        corpus(profile, seed, progress),
        {"pool": profile.agentic.pool, "largest": profile.corpus.largest_number},
    )

    def make(directory: Path) -> None:
        model, tokenizer, state = start.model, start.tokenizer, snapshot(f"rl-arm-{run}", directory)
        rows, _ = finetune.encode_rows(data.rows, tokenizer, profile.sft.seq_len)
        ptx = finetune.batches(rows, PTX, profile.sft.seq_len, tokenizer.pad_id, run) if size.ptx_weight else None
        problems = verifiable(size.candidates, 1000 + run, "train", **kinds)
        result = train_rl(model, tokenizer, problems, [], ptx, size, seed=run, progress=progress, snapshot=state)
        save_checkpoint(directory / "model", model, tokenizer, {"stage": "rl", "arm": name, "run": run})
        heldout = verifiable(size.heldout, seed, profile.judged_on, **kinds)
        found = examined(load_checkpoint(directory / "model"), profile, heldout, text, seed)
        (directory / "result.json").write_text(json.dumps(found | asdict(result)), encoding="utf-8")
        state.path.unlink(missing_ok=True)

    key = {
        "size": asdict(size),
        "arm": name,
        "sft": start.dir.parent.name,
        "problems": kinds,
        "heldout": profile.judged_on,
    }
    path = stage(f"rl-arm-{run}", key | {"seed": seed, "run": run}, make)
    return json.loads((path / "result.json").read_text(encoding="utf-8"))


def examined(one: Checkpoint, profile: Profile, heldout: list[Problem], text: Corpus, seed: int) -> dict:
    """{"kinds", "solved": right answers of SAMPLES, "greedy", "roomy": [problem], "knowledge": [question], "perplexity"}."""
    pair, people = (
        (one.model, one.tokenizer),
        [qa for person in text.world.of("train") for qa in text.world.questions(person)],
    )
    asked = list(map(Knowledge, random.Random(seed).sample(people, min(ASKED, len(people)))))
    sampled = play(*pair, heldout, samples=SAMPLES, temperature=1.0)
    roomy = [Roomy(problem, ROOM * problem.budget) for problem in heldout]
    tokens = text.dataset.tokens("heldout")[: profile.evaluate.perplexity_tokens]
    return {
        "kinds": [problem.kind for problem in heldout],
        "solved": [sum(episode.solved for episode in group) for group in sampled],
        "greedy": [group[0].solved for group in play(*pair, heldout)],
        "roomy": [group[0].solved for group in play(*pair, roomy)],
        "tokens": [sum(sum(episode.mask) for episode in group) / SAMPLES for group in sampled],
        "knowledge": suite.solved(*pair, asked).per_item,
        "perplexity": suite.perplexity(one.model, tokens, profile.pretrain.seq_len).value,
    }

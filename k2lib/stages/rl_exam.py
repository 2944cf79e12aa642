"""One examination for every arm of RL and for the model that they start from.

Held-out problems of each family, sixteen answers each for pass@k, and one greedy answer with the training's budget and with a roomy
one; then what RL does not train: other puzzles, tasks with tools, questions about people, and text.
"""

import json
import random
from pathlib import Path

from k2lib.evaluate import suite
from k2lib.gym.budgeted import Budgeted
from k2lib.gym.knowledge import Knowledge
from k2lib.gym.mixture import several
from k2lib.gym.play import Played, play
from k2lib.profiles import Profile
from k2lib.progress import Progress, silent
from k2lib.stages.corpus import Corpus, corpus
from k2lib.stages.rl_arms import rl_arm
from k2lib.stages.sft_data import SFTData, sft_data
from k2lib.stages.stage import stage
from k2lib.stages.warmup import ASIDE, LEARNED, warmed_up
from k2lib.train import Checkpoint

ROOM = 4  # times the budget of training
SAMPLES = 16  # answers of a held-out problem, for pass@k
ASKED = 100  # questions about people
SHOWN = 4  # of the SAMPLES, kept as they were said


def rl_exam(profile: Profile, name: str | None, seed: int = 0, run: int = 0, progress: Progress = silent) -> dict:
    """What `examined` says of the arm `name` of RL_ARMS; of the model that all arms start from if that is None."""
    one = warmed_up(profile, seed, progress) if name is None else rl_arm(profile, name, seed, run, progress)
    data, text, size = sft_data(profile, seed, progress), corpus(profile, seed, progress), profile.rl_arms

    def make(directory: Path) -> None:
        found = examined(one, profile, data, text, seed)
        (directory / "result.json").write_text(json.dumps(found), encoding="utf-8")

    key = {"model": one.dir.parent.name, "seed": seed}
    key |= {"asked": size.asked, "tasks": size.tasks, "judged_on": profile.judged_on}
    return json.loads((stage("rl-exam", key, make) / "result.json").read_text(encoding="utf-8"))


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

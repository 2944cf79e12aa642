"""What does RL give over fine-tuning, and what does it take? SmolLM2-135M-Instruct on the gym's families (section 3.2.1).

Fine-tuning shows the model worked answers of five families and of two puzzles, since who never solves a problem learns nothing
from trying. K2's objective then trains it on other problems of the five, by whole episodes. Examined are all seven, on problems
that neither stage has seen, and its English: the perplexity of Python's documentation. Needs `k2 get smollm2`.
"""

import statistics

import torch

from k2lib.config import K2Config
from k2lib.corpus.packing import PackedDataset
from k2lib.evaluate.blind import blind
from k2lib.gym.fair import fair
from k2lib.gym.problem import Question
from k2lib.intervals import interval
from k2lib.llm import get
from k2lib.profiles import Profile
from k2lib.progress import Progress
from k2lib.studies.foreign import Answer, Policy
from k2lib.studies.foreign_training import fine_tuned, moderately_hard, trained
from k2lib.studies.study import Study

LEARNED = ("mathematics", "tables", "faithfulness", "following", "countdown")  # by RL
SHOWN = (*LEARNED, "letters", "divisors")  # by fine-tuning, the last two by nothing else
LEVELS = {"divisors": 1}  # else the easiest
WORKED = 1 << 16  # added to the seed of the worked answers
ROOM = 32  # tokens of an answer
SAMPLES = 16  # answers of a held-out problem
PAGES = ("compound", "objects", "calls", "import")  # of the documentation that Python brings along
READ = 512  # tokens of each of them
ENOUGH = 3  # families that rise


def level(family: str) -> int:
    return LEVELS.get(family, 0)


def asks(problem: Question) -> str:
    """The text of a problem."""
    return f"Question: {problem.asks}\nAnswer:"


def measure(_config: K2Config, _dataset: PackedDataset | None, profile: Profile, run: int, progress: Progress) -> dict:
    """What one run finds; every run draws its worked answers, its problems and those that are held out anew.

    {"right": {stage: {family: [problem] right answers of SAMPLES}}, "blind": {family: what one answer to all solves}, "success":
    [iteration], "perplexity": {"before" | stage: of PAGES}}. RuntimeError without the model.
    """
    if not get.have("smollm2"):
        raise RuntimeError("the study of families trains SmolLM2, which is not here; run `k2 get smollm2`")
    size, policy = profile.second_families, Policy(get.path("smollm2"), asks, (), ROOM)
    asked = {family: fair(family, size.asked, run, profile.judged_on, level(family)) for family in SHOWN}
    found = {"right": {}, "perplexity": {"before": perplexity(policy)}}
    worked = drawn(SHOWN, size.worked, WORKED + run)
    fine_tuned(policy, worked, size.sft_lr, size.sft_batch, run, progress)
    _examine(policy, asked, run, "SFT", found)
    candidates = drawn(LEARNED, size.candidates // len(LEARNED), run, frozenset(one.asks for one in worked))
    pool = moderately_hard(policy, candidates, run, size.prompts)
    found["success"] = trained(policy, pool, "k2", size, run, progress)
    _examine(policy, asked, run, "RL", found)
    return found | {"blind": {family: blind(problems) for family, problems in asked.items()}}


def drawn(families: tuple[str, ...], each: int, seed: int, but: frozenset[str] = frozenset()) -> list[Question]:
    """So many problems of each family to train on, none twice and none of those that `but` asks."""
    return [one for family in families for one in fair(family, each, seed, "train", level(family), 1.0, but)]


def _examine(policy: Policy, asked: dict[str, list[Question]], run: int, stage: str, found: dict) -> None:
    found["right"][stage] = {
        family: _right(policy.answers(problems, SAMPLES, run)) for family, problems in asked.items()
    }
    found["perplexity"][stage] = perplexity(policy)


def _right(groups: list[list[Answer]]) -> list[int]:
    return [sum(one.right for one in group) for group in groups]


@torch.no_grad()
def perplexity(policy: Policy) -> float:
    """Of PAGES of Python's documentation, by the token."""
    from pydoc_data.topics import topics

    texts = (policy.encode(topics[page])[:READ] for page in PAGES)
    losses = [-policy.scored([Answer(text[:1], text[1:], [0.0] * (len(text) - 1), False)]).logp for text in texts]
    return float(torch.cat(losses).mean().exp())


def rates(results: list[dict]) -> dict[str, dict[str, list[float]]]:
    """{"SFT" | "RL": {family: [run] share of the sampled answers that are right}, "blind": {family: [run]}}."""
    told = {
        stage: {family: [_share(one["right"][stage][family]) for one in results] for family in SHOWN}
        for stage in ("SFT", "RL")
    }
    return told | {"blind": {family: [one["blind"][family] for one in results] for family in SHOWN}}


def _share(right: list[int]) -> float:
    return statistics.mean(right) / SAMPLES


def gained(results: list[dict]) -> dict[str, list[float]]:
    """{family: [run] by how many points more of the sampled answers to held-out problems are right after RL than after SFT}."""
    told = rates(results)
    return {family: _points(told["RL"][family], told["SFT"][family]) for family in SHOWN}


def learned(results: list[dict]) -> dict[str, list[float]]:
    """{family of LEARNED: [run] points by which RL is above fine-tuning and above one answer to all, whichever is less}."""
    told, gains = rates(results), gained(results)
    read = {family: _points(told["RL"][family], told["blind"][family]) for family in LEARNED}
    return {family: list(map(min, gains[family], read[family])) for family in LEARNED}


def _points(after: list[float], before: list[float]) -> list[float]:
    return [100 * (one - other) for one, other in zip(after, before, strict=True)]


def values(_profile: Profile, results: list[dict]) -> dict[str, list[float]]:
    """One number a run for each claim."""
    surest = sorted(learned(results).values(), key=_surely, reverse=True)
    lost = [100 * (one["perplexity"]["RL"] / one["perplexity"]["SFT"] - 1) for one in results]
    return {"rl-raises-families-of-a-second-policy": surest[ENOUGH - 1], "rl-keeps-a-second-policys-english": lost}


def _surely(runs: list[float]) -> float:
    found = interval(runs, "seeds")
    return found.value if found.low is None else found.low  # one run has no interval


STUDY = Study("07_rl", "second_families", measure, values, reads_corpus=False)

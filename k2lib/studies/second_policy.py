"""Does RL teach a language model that nobody of the kit trained, SmolLM2-135M-Instruct, and which objective does? (section 3.2)

K2's objective and two others, K samples a problem and several updates a rollout, on a model of another family (Llama's), which
learned from trillions of tokens what ours did not. It is asked with a few worked answers before the question; an answer is one
line. Needs `k2 get smollm2`.
"""

import statistics
from collections.abc import Callable

from k2lib.config import K2Config
from k2lib.corpus.packing import PackedDataset
from k2lib.evaluate.attempts import pass_at
from k2lib.evaluate.blind import blind
from k2lib.gym.fair import fair
from k2lib.gym.problem import Question
from k2lib.llm import get
from k2lib.profiles import Profile
from k2lib.progress import Progress
from k2lib.studies.foreign import Answer, Policy
from k2lib.studies.foreign_training import moderately_hard, trained
from k2lib.studies.study import Study

LEVELS = {"divisors": 1, "products": 1, "sums": 0, "letters": 0, "equations": 0}
KINDS = tuple(LEVELS)  # which it solves now and then, before any training
SHOTS, ROOM = 2, 12  # worked answers before a question; tokens of an answer
SHOWN = 1 << 16  # the seed of those that are shown
SAMPLES = 16  # answers of a held-out problem
SHOWN_ANSWERS = 4  # of one problem, for a reader
KS = (1, 2, 4, 8, 16)
COMPARED = {"K2": "k2", "GRPO": "grpo", "rejection sampling": "rejection"}  # to names of OBJECTIVES
WITHIN = 0.8  # the share of GRPO's gain that K2's objective must surely reach


def measure(_config: K2Config, _dataset: PackedDataset | None, profile: Profile, run: int, progress: Progress) -> dict:
    """What one run finds, every objective having trained the same model on the same problems, in iterations of its own samples.

    {"kinds": [problem], "before": [problem] right answers of SAMPLES, "after": {objective: [problem]}, "success": {objective:
    [iteration]}, "blind": [kind] what one answer to all of a kind solves, "shown": `_most_gained` by K2's}. Every run draws its
    held-out problems anew. RuntimeError without the model.
    """
    if not get.have("smollm2"):
        raise RuntimeError("the study of a second policy trains SmolLM2, which is not here; run `k2 get smollm2`")
    size, policy = profile.second_policy, Policy(get.path("smollm2"), asker(), ("\n",), ROOM)
    start = {name: value.clone() for name, value in policy.model.state_dict().items()}
    asked = drawn(size.asked, run, profile.judged_on)
    before = policy.answers(asked, SAMPLES, run)
    pool = moderately_hard(policy, drawn(size.candidates // len(KINDS), run, "train"), run, size.prompts)
    after, success = {}, {}
    for name, objective in COMPARED.items():
        policy.model.load_state_dict(start)
        success[name] = trained(policy, pool, objective, size, run, progress)
        after[name] = policy.answers(asked, SAMPLES, run)
    return {
        "kinds": [one.kind for one in asked],
        "before": _right(before),
        "after": {name: _right(groups) for name, groups in after.items()},
        "success": success,
        "blind": [blind([one for one in asked if one.kind == kind]) for kind in KINDS],
        "shown": _most_gained(policy, asked, before, after["K2"]),
    }


def asker() -> Callable[[Question], str]:
    """The text of a problem: worked answers of the same kind, then the question."""
    shown = {kind: fair(kind, SHOTS, SHOWN, level=level, most=1.0) for kind, level in LEVELS.items()}

    def ask(problem: Question) -> str:
        worked = [f"Question: {one.asks}\nAnswer: {one.answer}\n\n" for one in shown[problem.kind]]
        return "".join(worked) + f"Question: {problem.asks}\nAnswer:"

    return ask


def drawn(each: int, seed: int, split: str) -> list[Question]:
    """So many problems of each kind, none twice and none with the answer of most others."""
    return [one for kind, level in LEVELS.items() for one in fair(kind, each, seed, split, level)]


def _right(groups: list[list[Answer]]) -> list[int]:
    return [sum(one.right for one in group) for group in groups]


def _most_gained(
    policy: Policy, problems: list[Question], before: list[list[Answer]], after: list[list[Answer]]
) -> dict:
    """The problem with most right answers more: {"asks", "before", "after": [(what was said, right?)] of SHOWN_ANSWERS}."""
    gained = [b - a for a, b in zip(_right(before), _right(after), strict=True)]
    most = max(range(len(problems)), key=gained.__getitem__)
    said = {
        age: [(policy.text(one.said), one.right) for one in groups[most][:SHOWN_ANSWERS]]
        for age, groups in (("before", before), ("after", after))
    }
    return {"asks": problems[most].asks} | said


def chances(found: dict) -> dict[str, list[float]]:
    """{"before" | objective: [k of KS] mean pass@k}."""
    counts = {"before": found["before"]} | found["after"]
    return {name: [statistics.mean(pass_at(k, rights, SAMPLES)) for k in KS] for name, rights in counts.items()}


def by_kind(found: dict) -> dict[str, list[float]]:
    """{"before" | objective: [kind of KINDS] share of the sampled answers that are right, "blind": of one answer for all}."""
    counts = {"before": found["before"]} | found["after"]
    return {name: _shares(rights, found["kinds"]) for name, rights in counts.items()} | {"blind": found["blind"]}


def _shares(rights: list[int], kinds: list[str]) -> list[float]:
    of = {kind: [right / SAMPLES for right, one in zip(rights, kinds, strict=True) if one == kind] for kind in KINDS}
    return [statistics.mean(of[kind]) for kind in KINDS]


def gained(results: list[dict]) -> dict[str, list[float]]:
    """{objective: [run] by how many points more of the sampled answers to held-out problems are right}."""
    return {
        name: [100 * (sum(one["after"][name]) - sum(one["before"])) / (SAMPLES * len(one["kinds"])) for one in results]
        for name in COMPARED
    }


def values(_profile: Profile, results: list[dict]) -> dict[str, list[float]]:
    """One number a run for each claim, in points."""
    k2, grpo, rejection = gained(results).values()
    return {
        "rl-raises-a-second-policy": k2,
        "k2-keeps-up-with-grpo": [ours - WITHIN * theirs for ours, theirs in zip(k2, grpo, strict=True)],
        "wrong-answers-teach": [ours - theirs for ours, theirs in zip(k2, rejection, strict=True)],
    }


STUDY = Study("07_rl", "second_policy", measure, values, reads_corpus=False)

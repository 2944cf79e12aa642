"""Notebook 07: problems, training on them, and success on others before and after (section 3.2)."""

from k2lib import stages
from k2lib.gym.mixture import verifiable
from k2lib.profiles import Profile
from k2lib.progress import Progress

SHOWN, SHOWN_SEED = 4, 1000  # problems on the page: the first ones of the training itself
OF_A_RUN = ("kept", "candidates", "moderate", "development", "kinds", "before", "after")


def problems(profile: Profile, _seed: int, _progress: Progress) -> list[dict]:
    """A few problems: {"kind", "budget": tokens of one turn, "asks", "tools": names}."""
    kinds = {"per_domain": profile.agentic.per_domain, "largest": profile.corpus.largest_number}
    return [
        {
            "kind": problem.kind,
            "budget": problem.budget,
            "asks": problem.messages[-1]["content"],
            "tools": [spec["function"]["name"] for spec in problem.tools],
        }
        for problem in verifiable(SHOWN, SHOWN_SEED, **kinds)
    ]


def runs(profile: Profile, seed: int, progress: Progress) -> list[dict]:
    """Of each run {"success", "length": [step], "development": [(step, success)], "kept": the step that is judged,
    "candidates", "moderate": problems before and after the filter, "kinds": [held-out problem],
    "before", "after": {"sampled", "greedy": success on each held-out problem}}.
    """
    trainings = [stages.rl(profile, seed, run, progress).training for run in range(profile.runs)]
    return [
        {name: training[name] for name in OF_A_RUN}
        | {name: [step[name] for step in training["history"]] for name in ("success", "length")}
        for training in trainings
    ]

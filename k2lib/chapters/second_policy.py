"""Notebook 07, the study of a second policy: SmolLM2-135M trained by three objectives (section 3.2)."""

from k2lib import stages
from k2lib.llm import get
from k2lib.profiles import Profile
from k2lib.progress import Progress
from k2lib.studies import second_policy


def second(profile: Profile, seed: int, progress: Progress) -> dict | None:
    """What the study of a second policy found; None at a small size, or without `k2 get smollm2`.

    {"chances": {"before" | objective: [run][k]}, "kinds": {"before" | objective | "blind": {kind: [run]}}, "success": {objective:
    [run][iteration]}, "gained": {objective: [run] points}, "shown": [run] one problem, "claims": {id: [run]}}
    """
    if profile.second_policy is None or not get.have("smollm2"):
        return None
    runs = stages.study(second_policy.STUDY, profile, seed=seed, progress=progress)
    chances, kinds = ([of(run) for run in runs] for of in (second_policy.chances, second_policy.by_kind))
    by_kind = {
        name: {kind: [one[name][at] for one in kinds] for at, kind in enumerate(second_policy.KINDS)}
        for name in kinds[0]
    }
    return {
        "chances": {name: [one[name] for one in chances] for name in chances[0]},
        "kinds": by_kind,
        "success": {name: [run["success"][name] for run in runs] for name in second_policy.COMPARED},
        "gained": second_policy.gained(runs),
        "shown": [run["shown"] for run in runs],
        "claims": second_policy.values(profile, runs),
    }

"""Notebook 07, the study of families: SmolLM2-135M fine-tuned, then trained by K2's objective (section 3.2.1)."""

from k2lib import stages
from k2lib.llm import get
from k2lib.profiles import Profile
from k2lib.progress import Progress
from k2lib.studies import second_families


def families(profile: Profile, seed: int, progress: Progress) -> dict | None:
    """What the study of families found; None at a small size, or without `k2 get smollm2`.

    {"rates": {"SFT" | "RL" | "blind": {family: [run]}}, "success": [run][iteration], "gained": {family: [run] points},
    "perplexity": {"before" | "SFT" | "RL": [run]}, "claims": {id: [run]}}
    """
    if profile.second_families is None or not get.have("smollm2"):
        return None
    runs = stages.study(second_families.STUDY, profile, seed=seed, progress=progress)
    return {
        "rates": second_families.rates(runs),
        "success": [run["success"] for run in runs],
        "gained": second_families.gained(runs),
        "perplexity": {age: [run["perplexity"][age] for run in runs] for age in ("before", "SFT", "RL")},
        "claims": second_families.values(profile, runs),
    }

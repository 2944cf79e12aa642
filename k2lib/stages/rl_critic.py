"""RL in which the model ranks the answers to half of the problems itself; the critic learns on, or is frozen (section 3.2.2)."""

import copy
import json
from dataclasses import asdict, replace
from pathlib import Path

from k2lib.gym.mixture import several
from k2lib.profiles import Profile
from k2lib.progress import Progress, silent
from k2lib.rl.critique import train_with_critic
from k2lib.stages.stage import stage
from k2lib.stages.warmup import warmed_up

VERIFIABLE = ("mathematics", "faithfulness", "syllogisms", "letters", "products")  # the critic's lessons
JUDGED = ("tables", "following", "divisors", "countdown")  # rewarded by the critic alone
PROBLEMS = 40  # of each family
STEPS, ASKED = 10, 24  # iterations, and problems of each: the critic compares every two answers of a problem


def rl_critic(profile: Profile, closed: bool, seed: int = 0, run: int = 0, progress: Progress = silent) -> dict:
    """A `CriticRun` as a dict, from the model that RL's arms start from: it is both the policy and the critic."""
    start = warmed_up(profile, seed, progress)
    size = replace(profile.rl_arms.rl, steps=STEPS, prompts=ASKED)

    def make(directory: Path) -> None:
        asked = [several(kinds, PROBLEMS * len(kinds), 3000 + run) for kinds in (VERIFIABLE, JUDGED)]
        pair = (start.model, copy.deepcopy(start.model))
        found = train_with_critic(*pair, start.tokenizer, *asked, size, closed=closed, seed=run, progress=progress)
        (directory / "result.json").write_text(json.dumps(asdict(found)), encoding="utf-8")

    key = {"size": asdict(size), "closed": closed, "start": start.dir.parent.name, "seed": seed, "run": run}
    path = stage(f"rl-critic-{run}", key, make)
    return json.loads((path / "result.json").read_text(encoding="utf-8"))

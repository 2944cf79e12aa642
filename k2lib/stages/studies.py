"""The one runner of studies: each seed is a cached result, so more seeds cost only what is new and a killed run goes on.

A result stands on the code of its own study and on no other's.
"""

import json
from dataclasses import asdict
from pathlib import Path

from k2lib.profiles import Profile
from k2lib.progress import Progress, silent
from k2lib.stages.corpus import corpus
from k2lib.stages.stage import stage
from k2lib.stages.training import config
from k2lib.studies.study import Study


def study(
    one: Study, profile: Profile, seeds: int | None = None, seed: int = 0, progress: Progress = silent
) -> list[dict]:
    """What each seed of a study gave, on the corpus of `seed`; as many seeds as the profile says unless `seeds` does.

    ValueError for fewer than one seed, or for a profile too small for the study.
    """
    if getattr(profile, one.size) is None:
        raise ValueError(f"the study {one.size} has no {profile.name} size; choose study or gpu")
    size = asdict(getattr(profile, one.size))
    data = corpus(profile, seed, progress) if one.reads_corpus else None
    usual = size.pop("seeds")  # no part of a seed's key, however many are asked for
    count = usual if seeds is None else seeds
    if count < 1:
        raise ValueError(f"a study needs at least one seed, not {count}")
    key = {"size": size, "model": profile.model, "lr": profile.pretrain.lr, "judged_on": profile.judged_on}
    key["corpus"] = data.dir.name if data else None

    def result(run: int) -> dict:
        def make(directory: Path) -> None:
            numbers = one.measure(config(profile), data and data.dataset, profile, run, progress)
            (directory / "result.json").write_text(json.dumps(numbers), encoding="utf-8")

        path = stage(f"{one.size}-study", key | {"run": run}, make, code=one.measure)
        return json.loads((path / "result.json").read_text(encoding="utf-8"))

    return [result(run) for run in range(count)]

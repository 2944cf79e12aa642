"""The one runner of studies: each seed is a cached result, so more seeds cost only what is new and a killed run goes on."""

import json
from dataclasses import asdict
from pathlib import Path

from k2lib.profiles import Profile
from k2lib.progress import Progress, silent
from k2lib.stages.corpus import corpus
from k2lib.stages.stage import stage
from k2lib.stages.training import config
from k2lib.studies import clip, fp8, growth, harm, heads, rates, routing, tokens, updates

STUDIES = {
    "routing": routing.STUDY,
    "clip": clip.STUDY,
    "rates": rates.STUDY,
    "updates": updates.STUDY,
    "tokens": tokens.STUDY,
    "growth": growth.STUDY,
    "heads": heads.STUDY,
    "harm": harm.STUDY,
    "fp8": fp8.STUDY,
}


def study(
    name: str, profile: Profile, seeds: int | None = None, seed: int = 0, progress: Progress = silent
) -> list[dict]:
    """What each seed of a study gave, on the corpus of `seed`; as many seeds as the profile says unless `seeds` does.

    ValueError for an unknown study or fewer than one seed.
    """
    if name not in STUDIES:
        raise ValueError(f"unknown study {name!r}; choose one of {', '.join(STUDIES)}")
    one, data = STUDIES[name], corpus(profile, seed, progress)
    size = asdict(getattr(profile, one.size))
    count = size.pop("seeds") if seeds is None else seeds
    if count < 1:
        raise ValueError(f"a study needs at least one seed, not {count}")
    key = {"size": size, "model": profile.model, "lr": profile.pretrain.lr, "corpus": data.dir.name}
    key["judged_on"] = profile.judged_on

    def result(run: int) -> dict:
        def make(directory: Path) -> None:
            numbers = one.measure(config(profile), data.dataset, profile, run, progress)
            (directory / "result.json").write_text(json.dumps(numbers), encoding="utf-8")

        path = stage(f"{name}-study", key | {"run": run}, make)
        return json.loads((path / "result.json").read_text(encoding="utf-8"))

    return [result(run) for run in range(count)]

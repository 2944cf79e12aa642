"""Short trainings that notebooks 03 and 04 show, on the corpus: with and without the clip, with and without FP8 storage."""

import json
from collections.abc import Callable
from dataclasses import asdict

from k2lib.profiles import ClipSize, MemorySize, Profile
from k2lib.progress import Progress, silent
from k2lib.stages.corpus import Corpus, corpus
from k2lib.stages.stage import stage
from k2lib.stages.training import config
from k2lib.studies import clip, fp8


def clip_study(profile: Profile, seed: int = 0, progress: Progress = silent) -> dict[str, list[dict]]:
    """Plain Muon against MuonClip at a learning rate that hurts: `k2lib.studies.clip`."""
    data = corpus(profile, seed, progress)

    def measure() -> dict:
        return clip.clip_study(config(profile), data.dataset, profile.clip, progress)

    return _numbers("clip-study", profile, seed, data, profile.clip, measure)


def fp8_study(profile: Profile, seed: int = 0, progress: Progress = silent) -> list[dict[str, list[float]]]:
    """Losses with and without FP8 storage: `k2lib.studies.fp8`."""
    data = corpus(profile, seed, progress)

    def measure() -> list:
        return fp8.loss_curves(config(profile), data.dataset, profile.memory, profile.pretrain.lr, progress)

    return _numbers("fp8-study", profile, seed, data, profile.memory, measure)


def _numbers(name: str, profile: Profile, seed: int, data: Corpus, size: ClipSize | MemorySize, measure: Callable):
    """A study's numbers, stored as JSON like any stage."""
    key = {"size": asdict(size), "model": profile.model, "lr": profile.pretrain.lr}
    key |= {"seed": seed, "corpus": data.dir.name}
    path = stage(name, profile, key, lambda directory: (directory / "result.json").write_text(json.dumps(measure())))
    return json.loads((path / "result.json").read_text(encoding="utf-8"))

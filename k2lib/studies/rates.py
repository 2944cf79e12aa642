"""Which learning rate is best for AdamW, and which for MuonClip? A grid on seed 0, which no other study reports on.

Each optimizer gets its own: a comparison in which one of them is badly tuned says nothing about either.
"""

from k2lib.config import K2Config
from k2lib.corpus.packing import PackedDataset
from k2lib.profiles import OptimizerSize, Profile
from k2lib.progress import Progress
from k2lib.studies.study import Study
from k2lib.studies.training import ADAMW, Arm, fresh_loss, trained

GRID = {"AdamW": (1e-3, 2e-3, 3e-3, 5e-3, 8e-3), "MuonClip": (2e-3, 5e-3, 1e-2, 2e-2, 4e-2)}
MODELS = ("small", "large")


def measure(
    config: K2Config, dataset: PackedDataset, profile: Profile, seed: int, progress: Progress
) -> dict[str, dict[str, list[float]]]:
    """{model: {optimizer: [loss at each rate of its grid]}}."""
    size = profile.rates
    return {
        name: {optimizer: _losses(config, dataset, size, name, optimizer, seed, progress) for optimizer in GRID}
        for name in MODELS
    }


def _losses(
    config: K2Config,
    dataset: PackedDataset,
    size: OptimizerSize,
    name: str,
    optimizer: str,
    seed: int,
    progress: Progress,
) -> list[float]:
    shape = config.replace(**getattr(size, name).fields)
    rules = ADAMW if optimizer == "AdamW" else None
    losses = []
    for lr in GRID[optimizer]:
        arm = Arm(f"{optimizer} at {lr:g}, {name}", lr, rules)
        losses.append(fresh_loss(trained(shape, dataset, size, arm, seed, progress)[0], dataset, size, seed))
    return losses


def values(_profile: Profile, _results: list[dict]) -> dict[str, list[float]]:
    """It judges no claim; it chooses what the others take."""
    return {}


STUDY = Study("03_muonclip", "rates", measure, values)

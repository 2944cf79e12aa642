"""Does FP8 change what is learned, as storage of the experts' activations and as arithmetic (section 2.4.3)?

The same training three times: as it is, stored in FP8, multiplied in FP8.
"""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from k2lib import machine
from k2lib.config import K2Config
from k2lib.corpus.packing import PackedDataset
from k2lib.memory import Policy, k2_policy
from k2lib.model import K2Model
from k2lib.optim import MuonClip
from k2lib.profiles import MemorySize
from k2lib.progress import Progress, silent
from k2lib.studies.fp8_products import compute_in_fp8
from k2lib.train import Batch, train
from k2lib.train.step import under

ARMS = ("plain", "storage", "products")
TAIL = 10  # the last one of so many parts of a run is compared
T_95 = {
    1: 6.314,
    2: 2.920,
    3: 2.353,
    4: 2.132,
    5: 2.015,
    6: 1.943,
    7: 1.895,
    8: 1.860,
    9: 1.833,
}  # Student's, one-sided


@dataclass(frozen=True)
class Difference:
    """A mean over seeds of paired differences, and its 90% interval.

    Two one-sided tests at 5% find two arms equivalent within a margin if the interval lies inside it.
    """

    mean: float
    low: float
    high: float
    n: int


def loss_curves(
    config: K2Config, dataset: PackedDataset, size: MemorySize, lr: float, progress: Progress = silent
) -> list[dict[str, list[float]]]:
    """Per seed and arm the losses of the same training from scratch: as it is, stored in FP8, multiplied in FP8."""

    def losses(seed: int, arm: str) -> list[float]:
        def batches(start: int) -> Iterator[Batch]:
            return map(Batch.from_sequences, dataset.batches(size.batch_size, size.seq_len, seed, start_step=start))

        torch.manual_seed(seed)
        model = K2Model(config.replace(**size.model)).to(machine.device())
        model = compute_in_fp8(model) if arm == "products" else model
        policy = Policy(fp8=k2_policy().fp8) if arm == "storage" else Policy()
        settings = {"steps": size.steps, "lr_at": lambda _: lr, "gradients": under(policy)}
        settings |= {"progress": progress, "description": f"train {arm}, seed {seed}"}
        return [record.loss for record in train(model, MuonClip.for_model(model, lr=lr), batches, **settings)]

    return [{arm: losses(seed, arm) for arm in ARMS} for seed in range(size.seeds)]


def difference(runs: list[dict[str, list[float]]], arm: str) -> Difference:
    """Mean loss of an arm over the last tenth of its steps, less that of "plain", paired by seed.

    One seed has no interval; then low and high are the difference itself.
    """
    tail = max(1, len(runs[0][arm]) // TAIL)
    gaps = [statistics.mean(run[arm][-tail:]) - statistics.mean(run["plain"][-tail:]) for run in runs]
    mean, n = statistics.mean(gaps), len(gaps)
    half = T_95.get(n - 1, 1.645) * statistics.stdev(gaps) / n**0.5 if n > 1 else 0.0
    return Difference(mean, mean - half, mean + half, n)

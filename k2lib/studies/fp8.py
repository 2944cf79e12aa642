"""Does FP8 change what is learned, as storage of the experts' activations and as arithmetic (section 2.4.3)?

The same training three times: as it is, stored in FP8, multiplied in FP8.
"""

import statistics
from collections.abc import Iterator

import torch

from k2lib import machine
from k2lib.config import K2Config
from k2lib.corpus.packing import PackedDataset
from k2lib.memory import Policy, k2_policy
from k2lib.model import K2Model
from k2lib.optim import MuonClip
from k2lib.profiles import Profile
from k2lib.progress import Progress
from k2lib.studies.fp8_products import compute_in_fp8
from k2lib.studies.study import Study
from k2lib.train import Batch, train
from k2lib.train.step import under

ARMS = ("plain", "storage", "products")
TAIL = 10  # the last one of so many parts of a run is compared


def measure(
    config: K2Config, dataset: PackedDataset, profile: Profile, seed: int, progress: Progress
) -> dict[str, list[float]]:
    """Of one seed {arm: losses} of the same training from scratch: as it is, stored in FP8, multiplied in FP8."""
    size, lr = profile.memory, profile.pretrain.lr

    def batches(start: int) -> Iterator[Batch]:
        return map(Batch.from_sequences, dataset.batches(size.batch_size, size.seq_len, seed, start_step=start))

    def losses(arm: str) -> list[float]:
        torch.manual_seed(seed)
        model = K2Model(config.replace(**size.model)).to(machine.device())
        model = compute_in_fp8(model) if arm == "products" else model
        policy = Policy(fp8=k2_policy().fp8) if arm == "storage" else Policy()
        settings = {"steps": size.steps, "lr_at": lambda _: lr, "gradients": under(policy)}
        settings |= {"progress": progress, "description": f"train {arm}, seed {seed}"}
        return [record.loss for record in train(model, MuonClip.for_model(model, lr=lr), batches, **settings)]

    return {arm: losses(arm) for arm in ARMS}


def gaps(runs: list[dict[str, list[float]]], arm: str) -> list[float]:
    """Per seed the mean loss of an arm over the last tenth of its steps, less that of "plain"."""
    tail = max(1, len(runs[0][arm]) // TAIL)
    return [statistics.mean(run[arm][-tail:]) - statistics.mean(run["plain"][-tail:]) for run in runs]


def values(_: Profile, results: list[dict]) -> dict[str, list[float]]:
    """One number a seed for each claim."""
    claims = {"fp8-storage-costs-no-loss": "storage", "fp8-products-cost-loss": "products"}
    return {name: gaps(results, arm) for name, arm in claims.items()}


STUDY = Study("04_memory", "memory", measure, values)

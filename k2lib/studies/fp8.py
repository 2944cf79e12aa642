"""Does FP8 storage of the experts' activations change what is learned? The same training with and without it (section 2.4.3)."""

from collections.abc import Iterator

import torch

from k2lib import machine
from k2lib.config import K2Config
from k2lib.corpus.packing import PackedDataset
from k2lib.memory.policy import Policy, k2_policy
from k2lib.model import K2Model
from k2lib.optim import MuonClip
from k2lib.profiles import MemorySize
from k2lib.progress import Progress, silent
from k2lib.train import Batch, train
from k2lib.train.step import under

ARMS = {"plain": Policy(), "fp8": Policy(fp8=k2_policy().fp8)}


def loss_curves(
    config: K2Config, dataset: PackedDataset, size: MemorySize, lr: float, progress: Progress = silent
) -> list[dict[str, list[float]]]:
    """Per seed {"plain": losses, "fp8": losses} of the same training from scratch, saved tensors as they are or in FP8."""

    def losses(seed: int, arm: str) -> list[float]:
        def batches(start: int) -> Iterator[Batch]:
            return map(Batch.from_sequences, dataset.batches(size.batch_size, size.seq_len, seed, start_step=start))

        torch.manual_seed(seed)
        model = K2Model(config).to(machine.device())
        settings = {"steps": size.steps, "lr_at": lambda _: lr, "gradients": under(ARMS[arm])}
        settings |= {"progress": progress, "description": f"train {arm}, seed {seed}"}
        return [record.loss for record in train(model, MuonClip.for_model(model, lr=lr), batches, **settings)]

    return [{arm: losses(seed, arm) for arm in ARMS} for seed in range(size.seeds)]

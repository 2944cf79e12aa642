"""Measurements behind notebook 04: bytes and gradients under a policy, losses with and without FP8 storage."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from k2lib import machine
from k2lib.config import K2Config
from k2lib.corpus.packing import PackedDataset
from k2lib.memory.policy import Policy, recompute
from k2lib.memory.store import ActivationStore
from k2lib.model import K2Model
from k2lib.optim import MuonClip
from k2lib.profiles import MemorySize, Profile


@dataclass(frozen=True)
class Kept:
    by_kind: dict[str, int]
    total: int  # bytes on the device
    host: int
    loss: float
    gradients: dict[str, Tensor]

    def largest_gradient_difference(self, other: "Kept") -> float:
        return max(float((g - other.gradients[name]).abs().max()) for name, g in self.gradients.items())


def kept_bytes(model: K2Model, sequences: Tensor, policy: Policy, compute_dtype: str = "auto") -> Kept:
    """One forward and backward pass of sequences [B, T + 1] under `policy`; the model is left without gradients."""
    was_training, where = model.training, next(model.parameters()).device
    sequences = sequences.to(where)
    model.train().zero_grad(set_to_none=True)
    with recompute(model, policy), ActivationStore(policy) as store, machine.precision(where, compute_dtype):
        loss = model.loss(sequences[:, :-1], sequences[:, 1:])
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    model.train(was_training)
    by_kind = {kind: size for kind, size in store.bytes_by_kind.items() if kind != "weights"}
    return Kept(by_kind, store.total_bytes, store.host_bytes, loss.item(), gradients)


def loss_curves(
    config: K2Config,
    dataset: PackedDataset,
    size: MemorySize,
    profile: Profile,
    progress: Callable[[Iterable, str, int], Iterable],
) -> list[dict[str, list[float]]]:
    """Per seed {"plain": losses, "fp8": losses} of the same training from scratch, saved tensors as they are or in FP8."""
    arms = {"plain": Policy(), "fp8": Policy(fp8=frozenset({"experts"}))}
    runs = []
    for seed in range(size.seeds):
        runs.append(
            {arm: _losses(config, dataset, size, profile, policy, seed, progress) for arm, policy in arms.items()}
        )
    return runs


def _losses(config, dataset, size, profile, policy, seed, progress) -> list[float]:
    torch.manual_seed(seed)
    where = machine.device()
    model = K2Model(config).to(where).train()
    optimizer = MuonClip.for_model(model, lr=profile.pretrain.lr)
    batches = dataset.batches(size.batch_size, size.seq_len, seed)
    losses = []
    for _ in progress(range(size.steps), f"train, seed {seed}", size.steps):
        sequences = next(batches).to(where)
        with ActivationStore(policy), machine.precision(where):
            loss = model.loss(sequences[:, :-1], sequences[:, 1:])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
    return losses

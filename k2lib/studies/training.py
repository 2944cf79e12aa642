"""One short training with one thing changed: what the studies of the optimizer have in common (section 2.1).

An `Arm` is what changes. Seed 0 belongs to the learning rates, which were chosen on it; run r of a study takes seed r + 1.
"""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from k2lib import machine
from k2lib.config import K2Config
from k2lib.corpus.packing import PackedDataset
from k2lib.model import K2Model
from k2lib.optim import MuonClip, QKClip, schedule
from k2lib.optim.groups import Rules
from k2lib.profiles import OptimizerSize
from k2lib.progress import Progress, silent
from k2lib.train import Batch, StepRecord, train

FRESH = 32  # batches that no arm has trained on: the stream's own, behind the longest training
TAIL = 10  # a final training loss is the mean over the last one of so many parts of a run
ADAMW: Rules = {"*": "adamw"}


@dataclass(frozen=True)
class Arm:
    """What one training differs in."""

    name: str
    lr: float
    rules: Rules | None = None  # None: Muon for matrices
    tau: float | None = None  # None: no clip
    clip: type[QKClip] = QKClip
    constant: bool = False  # the rate, after its warm-up; else it falls at the end as in the paper
    change: Callable[[K2Model], None] | None = None  # of the model, before it is trained


def trained(
    config: K2Config,
    dataset: PackedDataset,
    size: OptimizerSize,
    arm: Arm,
    seed: int,
    progress: Progress = silent,
    steps: int | None = None,
) -> tuple[K2Model, MuonClip, list[StepRecord]]:
    """The model, its optimizer and one record a step, after `steps` or the size's; the seed fixes weights and batches."""
    total = size.steps if steps is None else steps

    def batches(start: int) -> Iterator[Batch]:
        return map(Batch.from_sequences, dataset.batches(size.batch_size, size.seq_len, seed, start_step=start))

    def lr_at(step: int) -> float:
        if arm.constant:
            return arm.lr * min(1.0, (step + 1) / size.warmup)
        return schedule.wsd(step, lr=arm.lr, warmup=min(size.warmup, total), total=total)

    torch.manual_seed(seed)
    model = K2Model(config).to(machine.device())
    if arm.change is not None:
        arm.change(model)
    clip = None if arm.tau is None else arm.clip(arm.tau)
    optimizer = MuonClip.for_model(model, lr=arm.lr, tau=arm.tau, qk_clip=clip, rules=arm.rules)
    how = {"steps": total, "lr_at": lr_at, "progress": progress, "description": f"{arm.name}, seed {seed}"}
    return model, optimizer, train(model, optimizer, batches, **how)


@torch.no_grad()
def fresh_loss(model: K2Model, dataset: PackedDataset, size: OptimizerSize, seed: int) -> float:
    """Mean loss, nats per token, on batches of the training's own stream that it has not come to."""
    source = dataset.batches(size.batch_size, size.seq_len, seed, start_step=size.steps)
    where, losses = machine.device(), []
    for _ in range(FRESH):
        with machine.precision(where):
            losses.append(model.loss(*Batch.from_sequences(next(source)).to(where)).item())
    return statistics.mean(losses)


def heads_apart(config: K2Config) -> Rules:
    """Rules by which Muon orthogonalises the queries, the keys and the values of each head by themselves.

    ValueError for heads whose keys and values differ in width: they lie in one matrix, whose blocks must be equal.
    """
    if config.qk_nope_head_dim != config.v_head_dim:
        raise ValueError(
            f"keys of {config.qk_nope_head_dim} and values of {config.v_head_dim} rows a head are no equal blocks; "
            "choose a model in which both are as wide"
        )
    heads = config.num_attention_heads
    return {"*.q_b_proj.weight": ("muon", heads), "*.kv_b_proj.weight": ("muon", 2 * heads)}


def summary(records: list[StepRecord]) -> dict[str, list[float]]:
    """{"loss": [step], "max_logit": [step], of any head}."""
    return {"loss": [r.loss for r in records], "max_logit": [max(map(max, r.max_logits)) for r in records]}


def final(losses: list[float]) -> float:
    """Mean over the last tenth."""
    return statistics.mean(losses[-max(1, len(losses) // TAIL) :])

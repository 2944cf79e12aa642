"""The training loop of pre-training, fine-tuning, the studies and every parallel layout; one step is `k2lib.train.step`.

The data order is a function of the step number, so a run that was killed goes on from its last snapshot.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import torch
from torch import nn

from k2lib.progress import Progress, silent
from k2lib.train.batch import Batch
from k2lib.train.snapshot import Snapshot
from k2lib.train.step import BIAS_RATE, Gradients, backward, update


@dataclass(frozen=True)
class StepRecord:
    step: int
    loss: float
    lr: float
    tokens: int
    seconds: float
    max_logits: list[list[float]]  # [layer][head], before this step's clip
    violation: float  # largest expert load over the mean, minus 1, worst layer


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Callable[[int], Iterator[Batch]],
    *,
    steps: int,
    lr_at: Callable[[int], float],
    gradients: Gradients = backward,
    bias_rate: float = BIAS_RATE,
    progress: Progress = silent,
    description: str = "train",
    snapshot: Snapshot | None = None,
) -> list[StepRecord]:
    """Train for `steps` steps and return one record a step.

    `batches(start)` yields the batches from step `start` on; `lr_at(step)` is the learning rate of all groups.
    `gradients` replaces the plain pass over a batch (`k2lib.train.step`). Raises FloatingPointError, naming the step, if
    the loss is not finite: nothing has been changed by that step.
    """
    done = snapshot.load(model, optimizer) if snapshot else {}
    history = [StepRecord(**record) for record in done.get("history", [])]
    source = batches(len(history))
    model.train()
    for step in progress(range(len(history), steps), description, steps - len(history)):
        began, batch, lr = time.perf_counter(), next(source), lr_at(step)
        loss = gradients(model, batch)
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss} at step {step}; lower the learning rate {lr:g}")
        observed = update(model, optimizer, lr, bias_rate)
        seconds = time.perf_counter() - began
        history.append(StepRecord(step, loss, lr, batch.tokens.numel(), seconds, **asdict(observed)))
        if snapshot and snapshot.due:
            snapshot.save(model, optimizer, {"history": [asdict(record) for record in history]})
    model.eval()
    return history

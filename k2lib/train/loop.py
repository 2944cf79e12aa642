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
from k2lib.train.step import BIAS_RATE, Gradients, Observed, backward, forget, update


@dataclass(frozen=True)
class StepRecord:
    step: int
    loss: float | None  # None: the batch was skipped
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
    skip_non_finite: bool = False,
    progress: Progress = silent,
    description: str = "train",
    snapshot: Snapshot | None = None,
) -> list[StepRecord]:
    """Train for `steps` steps and return one record a step.

    `batches(start)` yields the batches from step `start` on; `lr_at(step)` is the learning rate of all groups.
    `gradients` replaces the plain pass over a batch (`k2lib.train.step`). Raises FloatingPointError, naming the step, if
    the loss, a gradient or a maximum logit is not finite: nothing has been changed by that step, and its gradients are
    cleared. With `skip_non_finite` such a batch is recorded with loss None, and the next one follows, after a resume, too.
    """
    done = snapshot.load(model, optimizer) if snapshot else {}
    history = [StepRecord(**record) for record in done.get("history", [])]
    source = batches(len(history))
    model.train()
    for step in progress(range(len(history), steps), description, steps - len(history)):
        began, batch, lr = time.perf_counter(), next(source), lr_at(step)
        try:
            loss = gradients(model, batch)
            if not math.isfinite(loss):
                raise FloatingPointError(f"the loss is {loss}; lower the learning rate {lr:g}, or skip such batches")
            observed = update(model, optimizer, lr, bias_rate)
        except FloatingPointError as error:
            forget(model, optimizer)
            if not skip_non_finite:
                raise FloatingPointError(f"step {step}: {error}") from error
            loss, observed = None, Observed([], 0.0)
        seconds = time.perf_counter() - began
        history.append(StepRecord(step, loss, lr, batch.tokens.numel(), seconds, **asdict(observed)))
        if snapshot and snapshot.due:
            snapshot.save(model, optimizer, {"history": [asdict(record) for record in history]})
    model.eval()
    return history

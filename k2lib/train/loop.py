"""The training loop, the same for pre-training, fine-tuning and the studies.

One step: forward and backward under mixed precision (weights stay fp32, §4.3 of the paper trains in bf16), read the
per-head maximum logits that the forward pass left behind, let the optimizer step (MuonClip clips there), move the
routers' selection biases. The data order is a function of the step number, so a run that was killed goes on from its last
snapshot and ends bit-identical to one that was not.
"""

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from k2lib import machine
from k2lib.model.moe import router_loads, update_router_bias
from k2lib.train.batch import Batch


@dataclass(frozen=True)
class StepRecord:
    step: int
    loss: float
    lr: float
    tokens: int
    seconds: float
    max_logits: list[list[float]]  # [layer][head], before this step's clip
    violation: float  # largest expert load over the mean, minus 1, worst layer


@dataclass(frozen=True)
class Snapshot:
    """Where a run leaves its state so that a later process can continue it."""

    path: Path
    every_seconds: float = 60.0

    def save(self, step: int, model: nn.Module, optimizer: torch.optim.Optimizer, history: list[StepRecord]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        torch.save(
            {
                "step": step,
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "history": [dataclasses.asdict(r) for r in history],
            },
            temporary,
        )
        temporary.replace(self.path)

    def load(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, list[StepRecord]]:
        if not self.path.exists():
            return 0, []
        state = torch.load(self.path, weights_only=True, map_location=next(model.parameters()).device)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        return state["step"], [StepRecord(**r) for r in state["history"]]


def attention_maxima(model: nn.Module) -> list[list[float]]:
    """[layer][head] of the running maximum logits that the last training forwards recorded."""
    modules = [m for m in model.modules() if hasattr(m, "qk_parts")]
    return [m.max_logits.tolist() for m in modules if m.max_logits is not None]


def forget_maxima(model: nn.Module) -> None:
    """Start the running maxima afresh, also where no clip has done it."""
    for module in model.modules():
        if hasattr(module, "qk_parts"):
            module.max_logits = None


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Callable[[int], Iterator[Batch]],
    *,
    steps: int,
    lr_at: Callable[[int], float],
    compute_dtype: str = "auto",
    bias_rate: float = 1e-3,
    progress: Callable[[Iterable, str, int], Iterable] | None = None,
    description: str = "train",
    snapshot: Snapshot | None = None,
) -> list[StepRecord]:
    """Train for `steps` steps and return one record a step.

    `batches(start)` yields the batches from step `start` on; `lr_at(step)` is the learning rate of all groups; `bias_rate`
    is the u of aux-loss-free balancing (Moonlight: 1e-3). Raises FloatingPointError, naming the step, if the loss is not
    finite: nothing has been changed by that step.
    """
    device = next(model.parameters()).device
    start, history = snapshot.load(model, optimizer) if snapshot else (0, [])
    saved = time.monotonic()
    source = batches(start)
    model.train()
    for step in (progress or _silent)(range(start, steps), description, steps - start):
        began = time.perf_counter()
        batch = next(source).to(device)
        with machine.precision(device, compute_dtype):
            loss = model.loss(batch.tokens, batch.targets, batch.weights)
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss.item()} at step {step}; lower the learning rate {lr_at(step):g}"
            )
        loss.backward()
        maxima = attention_maxima(model)
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        forget_maxima(model)
        violation = max(
            (float(load.max() / load.mean().clamp_min(1e-9)) - 1 for load in router_loads(model)), default=0.0
        )
        update_router_bias(model, bias_rate)
        history.append(
            StepRecord(
                step, loss.item(), lr_at(step), batch.tokens.numel(), time.perf_counter() - began, maxima, violation
            )
        )
        if snapshot and time.monotonic() - saved > snapshot.every_seconds:
            snapshot.save(step + 1, model, optimizer, history)
            saved = time.monotonic()
    model.eval()
    return history


def _silent(iterable: Iterable, _description: str, _total: int) -> Iterable:
    return iterable

"""One optimisation step, the same for pre-training, fine-tuning, reinforcement learning, the studies and every layout.

A step has two halves. `Gradients` is the half that differs: a plain pass, micro-batches, a pipeline, sampled answers;
it leaves gradients in the model and returns the loss. `update` is the half that is always the same: MuonClip steps and
clips, and the routers' selection biases move, since nothing else balances the experts (section 2.1, 2.3).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from k2lib import machine
from k2lib.memory import ActivationStore, Policy
from k2lib.model.moe import max_violation, router_loads, update_router_bias
from k2lib.train.batch import Batch

BIAS_RATE = 1e-3  # u of aux-loss-free balancing (Moonlight)

Gradients = Callable[[nn.Module, Batch], float]


@dataclass(frozen=True)
class Observed:
    """What a step's forward passes left behind, read before the update."""

    max_logits: list[list[float]]  # [layer][head], before this step's clip
    violation: float  # largest expert load over the mean, minus 1, worst layer


def backward(model: nn.Module, batch: Batch) -> float:
    """Gradients of the mean loss on a batch, by one pass under mixed precision; weights stay fp32 (section 2.4.3)."""
    where = next(model.parameters()).device
    with machine.precision(where):
        loss = model.loss(*batch.to(where))
    loss.backward()
    return loss.item()


def under(policy: Policy, gradients: Gradients = backward) -> Gradients:
    """The same gradients, with what they keep for their backward passes stored under a memory policy."""

    def stored(model: nn.Module, batch: Batch) -> float:
        with ActivationStore(policy):
            return gradients(model, batch)

    return stored


def update(model: nn.Module, optimizer: torch.optim.Optimizer, lr: float, bias_rate: float = BIAS_RATE) -> Observed:
    """Step on the gradients that lie in `model`, clear them and all running counts, move the selection biases."""
    observed = Observed(_maxima(model), max(map(max_violation, router_loads(model)), default=0.0))
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
    update_router_bias(model, bias_rate)
    forget(model, optimizer)
    return observed


def forget(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Clears what a batch left behind: gradients, the routers' counts, the heads' maxima. After a refused step, too."""
    optimizer.zero_grad(set_to_none=True)
    for load in router_loads(model):
        load.zero_()
    for attention in _attentions(model):
        attention.max_logits = None  # also where no clip has cleared them


def _attentions(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if hasattr(module, "qk_parts")]


def _maxima(model: nn.Module) -> list[list[float]]:
    return [module.max_logits.tolist() for module in _attentions(model) if module.max_logits is not None]

"""What does a backward pass need to keep, and does a policy change its gradients? One pass, counted (section 2.4.3)."""

from dataclasses import dataclass

from torch import Tensor

from k2lib import machine
from k2lib.memory.activations import ActivationStore
from k2lib.memory.offload import Span
from k2lib.memory.policy import Policy
from k2lib.model import K2Model


@dataclass(frozen=True)
class Kept:
    by_name: dict[str, int]
    total: int  # bytes on the device
    host: int
    loss: float
    gradients: dict[str, Tensor]
    timeline: list[Span]  # of layers, and of copies if there were any

    def largest_gradient_difference(self, other: "Kept") -> float:
        return max(float((g - other.gradients[name]).abs().max()) for name, g in self.gradients.items())


def kept_bytes(model: K2Model, sequences: Tensor, policy: Policy, compute_dtype: str = "auto") -> Kept:
    """One forward and backward pass of sequences [B, T + 1] under `policy`; the model is left without gradients."""
    was_training, where = model.training, next(model.parameters()).device
    sequences = sequences.to(where)
    model.train().zero_grad(set_to_none=True)
    with ActivationStore(policy) as store, machine.precision(where, compute_dtype):
        loss = model.loss(sequences[:, :-1], sequences[:, 1:])
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    model.train(was_training)
    return Kept(store.bytes_by_kind, store.total_bytes, store.host_bytes, loss.item(), gradients, store.timeline())

"""What the forward pass tells a memory policy: which parts could run again, and what the tensors it keeps are called.

The model marks, the policy decides (`k2lib.memory`), as `checkpoint_name` and its policies do in JAX. Without a store
that listens, every mark is a plain call. A compiled model is left to its compiler.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Protocol

import torch
from torch import Tensor

REGIONS = {
    "layer": "a whole layer, from its input",
    "norm": "a norm, from the residual stream or a latent",
    "up-projection": "queries, keys and values of all heads, from their latents",
    "swiglu": "silu(gate) · up, from gate and up; that of routed experts is never kept here, whatever the policy",
    "down-projection": "outputs of routed experts; never kept here either, since gates weigh before they are formed",
    "routing": "scores and gates, from the experts' input",
    "copy": "a tensor in another layout or dtype",
}
TENSORS = {
    "residual": "the stream that a norm reads",
    "latent": "down-projections of queries, keys and values, and the shared rotary key",
    "attention output": "weighed values of all heads",
    "expert input": "rows that enter an expert's up-projection",
    "swiglu input": "gate and up, of routed, shared and dense feed-forward layers",
    "rows": "which row is whose among the experts, and its weight",
    "angles": "cosines and sines of the positions, one for all layers",
    "loss": "the gradients that the loss has formed already",
}


class Listener(Protocol):
    def region(self, name: str, function: Callable, inputs: tuple) -> Tensor | tuple[Tensor, ...]: ...

    def named(self, name: str, tensor: Tensor) -> None: ...


listener: ContextVar[Listener | None] = ContextVar("listener", default=None)
running_again: ContextVar[bool] = ContextVar("running_again", default=False)


def region(name: str, function: Callable, *inputs):
    """function(*inputs): a pure part of the forward pass, one of REGIONS, whose result a policy may forget and form anew."""
    heard = _listener() if torch.is_grad_enabled() else None
    return function(*inputs) if heard is None else heard.region(name, function, inputs)


def named(name: str, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
    """The same tensors, which are one of TENSORS from now on."""
    heard = _listener()
    if heard is not None:
        for tensor in tensors:
            heard.named(name, tensor)
    return tensors if len(tensors) > 1 else tensors[0]


def counts() -> bool:
    """Whether a forward pass may count what it sees: not while it runs a second time for the backward pass."""
    return torch.is_grad_enabled() and (torch.compiler.is_compiling() or not running_again.get())


def _listener() -> Listener | None:
    return None if torch.compiler.is_compiling() else listener.get()

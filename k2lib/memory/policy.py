"""Which activation is kept, recomputed, stored in FP8 or moved away: the paper's choice, and ways to differ from it.

Section 2.4.3: LayerNorm, SwiGLU and the up-projections of latent attention are recomputed (cheap and large); the inputs of the
experts' up-projections and of SwiGLU are stored as FP8; all the rest goes to the host's memory.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint


@dataclass(frozen=True)
class Policy:
    recompute: frozenset[str] = frozenset()  # kinds whose modules run again in the backward pass
    fp8: frozenset[str] = frozenset()  # kinds whose saved tensors are stored as FP8
    offload: bool = False  # everything else that is large goes to host memory


def k2_policy(offload: bool = True) -> Policy:
    """The paper's. "attention" recomputes the up-projections together with the attention over them, "feed-forward" the
    SwiGLU of dense and shared layers; the experts never keep more than their input and the SwiGLU's."""
    return Policy(frozenset({"norm", "feed-forward", "attention"}), frozenset({"experts"}), offload)


def kind_of(module: nn.Module) -> str | None:
    """The kind that the module's class declares; one that declares none belongs to its parent's."""
    return getattr(type(module), "memory_kind", None)


@contextmanager
def recompute(model: nn.Module, policy: Policy) -> Iterator[nn.Module]:
    """Within the block, modules of the policy's kinds keep their input only and run a second time in the backward pass.

    Bit-identical: the same operations on the same numbers. A module inside a recomputed one is not wrapped twice.
    """
    wrapped = [module for module in model.modules() if kind_of(module) in policy.recompute]
    inner = {id(child) for module in wrapped for child in module.modules() if child is not module}
    chosen = [module for module in wrapped if id(module) not in inner]
    for module in chosen:
        module.forward = partial(checkpoint, module.forward, use_reentrant=False, preserve_rng_state=False)
    try:
        yield model
    finally:
        for module in chosen:
            del module.forward  # the class's own shows again

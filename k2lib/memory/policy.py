"""Which tensor is kept, formed again, stored in FP8 or moved away: the paper's choice, and ways to differ from it.

Section 2.4.3: norms, SwiGLU, the up-projections of latent attention and the experts' down-projections are computed again
(cheap, and large to keep); the inputs of the experts' up-projections and of SwiGLU are stored as FP8; all the rest goes to
the host's memory.
"""

from dataclasses import dataclass

from k2lib.model.regions import REGIONS, TENSORS


@dataclass(frozen=True)
class Policy:
    """`recompute` names parts of the forward pass (`k2lib.model.regions.REGIONS`); `fp8` names tensors (TENSORS), or parts
    whose results are meant.

    ValueError for a name that the model does not use.
    """

    recompute: frozenset[str] = frozenset()  # what runs a second time; neither its result nor its inside is kept
    fp8: frozenset[str] = (
        frozenset()
    )  # what is stored in tiles of 1×128; a result that is formed again needs no storing
    offload: bool = False  # everything else that is large goes to host memory

    def __post_init__(self):
        for field, known in (("recompute", REGIONS), ("fp8", TENSORS | REGIONS)):
            chosen = frozenset(getattr(self, field))
            object.__setattr__(self, field, chosen)
            if unknown := sorted(chosen - set(known)):
                raise ValueError(f"no {unknown[0]!r} for a memory policy; choose from {', '.join(known)}")


def k2_policy(offload: bool = True) -> Policy:
    """The paper's, and "copy": what differs from a kept tensor in layout or dtype alone.

    An expert's input is a norm's result on the process that formed it, and so is formed again there; rows that arrived
    from another process are stored in FP8.
    """
    recompute = frozenset({"norm", "swiglu", "up-projection", "down-projection", "copy"})
    return Policy(recompute, frozenset({"expert input", "swiglu input"}), offload)


def full_recompute() -> Policy:
    """What is usual elsewhere: of each layer nothing but its input."""
    return Policy(recompute=frozenset({"layer"}))

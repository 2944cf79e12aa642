"""Rows of attention weights multiplied head by head, in place: what QK-Clip does once it knows its factors.

On a GPU with CuPy kernels/qk_clip.cu does it for all layers in one launch; elsewhere a loop does.
"""

import torch
from torch import Tensor

from k2lib import machine
from k2lib.cuda import clip as kernels
from k2lib.cuda.kernel import ALIGNED, TYPES, missing


@torch.no_grad()
def rescale_heads(parts: list, factors: list[Tensor]) -> None:
    """Multiply the rows start … stop of each head of a part's weight by factors [H of the part] fp32."""
    if parts and _fit_one_launch([part.weight for part in parts]):
        kernels.rescale(parts, factors)
        return
    for part, factor in zip(parts, factors, strict=True):
        if is_sharded(part.weight):
            _rescale_sharded(part, factor)
            continue
        rows = part.weight.view(part.heads, -1, *part.weight.shape[1:])[:, part.start : part.stop]  # weight or bias
        rows.mul_(factor.to(rows.dtype).view(-1, *[1] * (rows.ndim - 1)))


def is_sharded(weight: Tensor) -> bool:
    """Whether it is a DTensor, as FSDP2 makes them."""
    return hasattr(weight, "device_mesh")


def _rescale_sharded(part, factor: Tensor) -> None:
    """Each rank multiplies the rows that it holds, without a word to the others."""
    from torch.distributed.tensor import Replicate, distribute_tensor  # half a second, for those who shard

    weight = part.weight
    rows = torch.ones(len(weight), *[1] * (weight.ndim - 1), dtype=weight.dtype, device=weight.device)
    rows.view(part.heads, -1)[:, part.start : part.stop] = factor.to(rows.dtype)[:, None]
    placements = [place if place.is_shard(0) else Replicate() for place in weight.placements]
    weight.mul_(distribute_tensor(rows, weight.device_mesh, placements, src_data_rank=None))


def _fit_one_launch(weights: list[Tensor]) -> bool:
    dtypes = {weight.dtype for weight in weights}
    placed = all(weight.device.type == machine.GPU and not is_sharded(weight) for weight in weights)
    whole = all(weight.is_contiguous() and weight.data_ptr() % ALIGNED == 0 for weight in weights)
    return placed and whole and len(dtypes) == 1 and dtypes <= set(TYPES) and missing() is None

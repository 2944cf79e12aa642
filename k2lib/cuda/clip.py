"""kernels/qk_clip.cu: QK-Clip's rescale of all layers in one launch."""

from collections.abc import Callable

import torch
from torch import Tensor

from k2lib.cuda.kernel import ALIGNED, TYPES, Kernel

THREADS, BLOCKS = 256, 64  # of a block; that share the rows of a part


def rescale(parts: list, factors: list[Tensor], run: Callable = Kernel.__call__) -> None:
    """Multiply the rows of each part's heads by factors [H of the part] fp32, in place.

    A part is what `qk_parts` of an attention module gives: weight, heads, start, stop. ValueError for weights of several
    dtypes, or one that is not contiguous or starts at an address that vector access refuses.
    """
    dtypes = {part.weight.dtype for part in parts}
    fit = [part.weight.is_contiguous() and part.weight.data_ptr() % ALIGNED == 0 for part in parts]
    if len(dtypes) != 1 or not all(fit):
        said = f"contiguous from a multiple of {ALIGNED} bytes on, and of one dtype"
        raise ValueError(
            f"the parts must be {said}, not {fit.count(False)} of {len(fit)} otherwise in {sorted(map(str, dtypes))}"
        )
    first, most = parts[0].weight, max(part.heads for part in parts)
    table, padded = [], torch.ones(len(parts), most, dtype=torch.float32, device=first.device)
    for row, (part, factor) in enumerate(zip(parts, factors, strict=True)):
        per_head = part.weight.shape[0] // part.heads
        columns = part.weight[0].numel()
        table.append([part.weight.data_ptr(), part.heads, per_head, part.start, part.stop, columns])
        padded[row, : part.heads] = factor
    described = torch.tensor(table, dtype=torch.int64, device=first.device)
    kernel = Kernel("qk_clip", f"rescale<{TYPES[dtypes.pop()]}>", (Tensor, Tensor, int))
    run(kernel, (BLOCKS, len(parts)), (THREADS,), described, padded, most)

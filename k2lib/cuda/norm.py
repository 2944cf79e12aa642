"""kernels/add_rmsnorm.cu on matrices."""

from collections.abc import Callable

import torch
from torch import Tensor

from k2lib.cuda.kernel import TYPES, Kernel, ready

THREADS, VALUES, MOST_PIECES = 256, 8, 4
BACKWARD_BLOCKS = 264  # two for each multiprocessor of an H100 or H200


def add_rmsnorm(
    x: Tensor, residual: Tensor, weight: Tensor, eps: float, run: Callable = Kernel.__call__
) -> tuple[Tensor, Tensor, Tensor]:
    """x, residual [M, N], weight [N], all of one dtype -> h = x + residual, y = its RMSNorm, rstd [M] fp32."""
    x, residual, weight = ready(x), ready(residual), ready(weight)
    h, y = torch.empty_like(x), torch.empty_like(x)
    rstd = torch.empty(x.shape[0], dtype=torch.float32, device=x.device)
    kernel = Kernel("add_rmsnorm", f"forward<{_instance(x)}>", (Tensor,) * 6 + (int, float))
    run(kernel, (x.shape[0],), (THREADS,), x, residual, weight, h, y, rstd, x.shape[1], eps)
    return h, y, rstd


def add_rmsnorm_backward(
    dy: Tensor, dh: Tensor, h: Tensor, weight: Tensor, rstd: Tensor, run: Callable = Kernel.__call__
) -> tuple[Tensor, Tensor]:
    """dx [M, N], which is the residual's gradient too, and dweight [N] fp32, of dy and of what reaches h from elsewhere."""
    dy, dh, h, weight, rstd = map(ready, (dy, dh, h, weight, rstd))
    (rows, width), dx = h.shape, torch.empty_like(h)
    blocks = min(rows, BACKWARD_BLOCKS)
    partial = torch.empty(blocks, width, dtype=torch.float32, device=h.device)
    kernel = Kernel("add_rmsnorm", f"backward<{_instance(h)}>", (Tensor,) * 7 + (int, int))
    run(kernel, (blocks,), (THREADS,), dy, dh, h, weight, rstd, dx, partial, rows, width)
    return dx, partial.sum(0)


def _instance(x: Tensor) -> str:
    """The kernel's template arguments. ValueError for a row that a block's registers do not hold."""
    pieces = -(-x.shape[1] // (THREADS * VALUES))
    if pieces > MOST_PIECES:
        raise ValueError(f"add_rmsnorm holds rows of up to {THREADS * VALUES * MOST_PIECES} numbers, not {x.shape[1]}")
    return f"{TYPES[x.dtype]}, {max(pieces, 1)}"

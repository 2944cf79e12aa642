"""kernels/quantize_fp8.cu and kernels/dequantize_fp8.cu on matrices: shapes, grids, instances.

`run` says where: `Kernel.__call__` on the tensors' GPU, `Kernel.simulate` on the CPU.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from k2lib.cuda.kernel import Kernel

COLUMNS = 128  # of a tile
TILE_ROWS = (1, 128)
TYPES = {torch.bfloat16: "bf16", torch.float32: "float"}
THREADS, VALUES = 256, 8  # of a block; of a thread
PARAMETERS = (Tensor, Tensor, Tensor, int, int)


def has_kernel(dtype: torch.dtype, tile: tuple[int, int]) -> bool:
    """Whether a kernel serves numbers of this dtype in such tiles."""
    return dtype in TYPES and tile[0] in TILE_ROWS and tile[1] == COLUMNS


def quantize(x: Tensor, tile_rows: int = 1, run: Callable = Kernel.__call__) -> tuple[Tensor, Tensor]:
    """x [M, N] -> q [M, N] float8_e4m3fn and scale [⌈M/tile_rows⌉, ⌈N/128⌉] fp32."""
    (rows, columns), x = x.shape, x.contiguous()
    down, across = -(-rows // tile_rows), -(-columns // COLUMNS)
    q = torch.empty(rows, columns, dtype=torch.float8_e4m3fn, device=x.device)
    scale = torch.empty(down, across, dtype=torch.float32, device=x.device)
    by_rows = tile_rows == 1
    name = f"{'quantize_rows' if by_rows else 'quantize_blocks'}<{TYPES[x.dtype]}>"
    grid = (-(-down * across * COLUMNS // (THREADS * VALUES)),) if by_rows else (across, down)
    run(Kernel("quantize_fp8", name, PARAMETERS), grid, (THREADS,), x, q, scale, rows, columns)
    return q, scale


def dequantize(
    q: Tensor, scale: Tensor, dtype: torch.dtype, tile_rows: int = 1, run: Callable = Kernel.__call__
) -> Tensor:
    """The inverse: q [M, N] and scale [⌈M/tile_rows⌉, ⌈N/128⌉] -> [M, N] of `dtype`."""
    (rows, columns), q, scale = q.shape, q.contiguous(), scale.contiguous()
    x = torch.empty(rows, columns, dtype=dtype, device=q.device)
    grid = (-(-rows * -(-columns // VALUES) // THREADS),)
    kernel = Kernel("dequantize_fp8", f"dequantize<{TYPES[dtype]}, {tile_rows}>", PARAMETERS)
    run(kernel, grid, (THREADS,), q, scale, x, rows, columns)
    return x

"""The kernels of FP8 storage on matrices: shapes, grids, instances.

`run` says where: `Kernel.__call__` on the tensors' GPU, `Kernel.simulate` on the CPU.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from k2lib.cuda.kernel import TYPES, Kernel, missing, ready

COLUMNS = 128  # of a tile
TILE_ROWS = (1, 128)
THREADS, VALUES = 256, 8  # of a block; of a thread
PARAMETERS = (Tensor, Tensor, Tensor, int, int)


def has_kernel(dtype: torch.dtype, tile: tuple[int, int] = (1, COLUMNS)) -> bool:
    """Whether a kernel serves numbers of this dtype in such tiles, and can be launched here."""
    return dtype in TYPES and tile[0] in TILE_ROWS and tile[1] == COLUMNS and missing() is None


def quantize(x: Tensor, tile_rows: int = 1, run: Callable = Kernel.__call__) -> tuple[Tensor, Tensor]:
    """x [M, N] -> q [M, N] float8_e4m3fn and scale [⌈M/tile_rows⌉, ⌈N/128⌉] fp32."""
    (rows, columns), x = x.shape, ready(x)
    down, across = -(-rows // tile_rows), -(-columns // COLUMNS)
    q = torch.empty(rows, columns, dtype=torch.float8_e4m3fn, device=x.device)
    scale = torch.empty(down, across, dtype=torch.float32, device=x.device)
    by_rows = tile_rows == 1
    name = f"{'quantize_rows' if by_rows else 'quantize_blocks'}<{TYPES[x.dtype]}>"
    grid = row_tiles(down, across) if by_rows else (across, down)
    run(Kernel("quantize_fp8", name, PARAMETERS), grid, (THREADS,), x, q, scale, rows, columns)
    return q, scale


def dequantize(
    q: Tensor, scale: Tensor, dtype: torch.dtype, tile_rows: int = 1, run: Callable = Kernel.__call__
) -> Tensor:
    """The inverse: q [M, N] and scale [⌈M/tile_rows⌉, ⌈N/128⌉] -> [M, N] of `dtype`."""
    (rows, columns), q, scale = q.shape, ready(q), ready(scale)
    x = torch.empty(rows, columns, dtype=dtype, device=q.device)
    grid = (-(-rows * -(-columns // VALUES) // THREADS),)
    kernel = Kernel("dequantize_fp8", f"dequantize<{TYPES[dtype]}, {tile_rows}>", PARAMETERS)
    run(kernel, grid, (THREADS,), q, scale, x, rows, columns)
    return x


def swiglu(gate_up: Tensor, run: Callable = Kernel.__call__) -> tuple[Tensor, Tensor, Tensor]:
    """kernels/swiglu_fp8.cu: gate_up [M, 2W] -> h [M, W], its stash q [M, 2W] and scale [M, 2⌈W/128⌉] fp32."""
    (rows, width), gate_up = (gate_up.shape[0], gate_up.shape[1] // 2), ready(gate_up)
    across = -(-width // COLUMNS)
    h, q = gate_up.new_empty(rows, width), torch.empty_like(gate_up, dtype=torch.float8_e4m3fn)
    scale = gate_up.new_empty(rows, 2 * across, dtype=torch.float32)
    kernel = Kernel("swiglu_fp8", f"swiglu_forward<{TYPES[gate_up.dtype]}>", (Tensor,) * 4 + (int, int))
    run(kernel, row_tiles(rows, across), (THREADS,), gate_up, h, q, scale, rows, width)
    return h, q, scale


def swiglu_backward(dh: Tensor, q: Tensor, scale: Tensor, run: Callable = Kernel.__call__) -> Tensor:
    """The gradient [M, 2W] of gate and up, of dh [M, W] and the stash."""
    (rows, width), dh = dh.shape, ready(dh)
    d_gate_up = dh.new_empty(rows, 2 * width)
    kernel = Kernel("swiglu_fp8", f"swiglu_backward<{TYPES[dh.dtype]}>", (Tensor,) * 4 + (int, int))
    grid = row_tiles(rows, -(-width // COLUMNS))
    run(kernel, grid, (THREADS,), dh, ready(q), ready(scale), d_gate_up, rows, width)
    return d_gate_up


def row_tiles(rows: int, across: int) -> tuple[int]:
    """The grid over tiles of 1 × 128, sixteen to a block."""
    return (-(-rows * across * COLUMNS // (THREADS * VALUES)),)

"""FP8-E4M3 storage in tiles: a quarter of fp32's bytes for a tensor that waits for the backward pass (section 2.4.3).

Each tile of 1×128 numbers (along the last dimension) gets one fp32 factor amax/448, so one outlier spoils 127 neighbours and no
more. Storage only: the paper saw no loss change from it and keeps FP8 out of computation. On a GPU with CuPy
kernels/quantize_fp8.cu and its inverse do the work; the formula here gives the same bits anywhere. What surprises: E4M3
knows no infinity, so one comes back as a large number, and only a NaN stays visible.
"""

import torch
from torch import Tensor

from k2lib import machine
from k2lib.cuda import fp8 as kernels

LARGEST = 448.0  # of E4M3


def quantize_fp8(x: Tensor, tile: tuple[int, int] = (1, 128)) -> tuple[Tensor, Tensor]:
    """x [..., M, N] (any float) -> q float8_e4m3fn of x's shape and scale fp32 [..., ⌈M/rows⌉, ⌈N/columns⌉].

    The last tile of a dimension may be ragged. A vector [N] counts as one row. A NaN stays one and spoils no neighbour; an
    infinity counts as the largest fp32. ValueError for a tile that is not positive or a tensor that is not floating.
    """
    if min(tile) < 1:
        raise ValueError(f"tile is {tile}; both sides must be positive, such as (1, 128)")
    if not x.is_floating_point():
        raise ValueError(f"cannot store {x.dtype} as FP8; quantise floating tensors only")
    q, scale = torch.ops.k2.quantize_fp8(x if x.ndim > 1 else x[None], *tile)
    return (q, scale) if x.ndim > 1 else (q[0], scale[0])


def dequantize_fp8(
    q: Tensor, scale: Tensor, dtype: torch.dtype = torch.float32, tile: tuple[int, int] = (1, 128)
) -> Tensor:
    """The inverse up to rounding: relative error at most 2⁻⁴ of a number within a factor 2⁻⁶ of its tile's largest."""
    rows, columns = tile
    matrix, factors = (q, scale) if q.ndim > 1 else (q[None], scale[None])
    expected = _factors(matrix, rows, columns)
    if tuple(factors.shape) != expected:
        raise ValueError(
            f"scale has shape {tuple(scale.shape)}, a {tuple(q.shape)} tensor in tiles of {tile} needs {expected}"
        )
    return torch.ops.k2.dequantize_fp8(matrix, factors, dtype, rows, columns).view(q.shape)


@torch.library.custom_op("k2::quantize_fp8", mutates_args=())
def _quantize(x: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    return _quantize_formula(x, rows, columns)


@_quantize.register_fake
def _(x: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x, dtype=torch.float8_e4m3fn), x.new_empty(_factors(x, rows, columns), dtype=torch.float32)


@_quantize.register_kernel(machine.GPU)
def _(x: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    if not _kernel_fits(x, x.dtype, rows, columns):
        return _quantize_formula(x, rows, columns)
    q, scale = kernels.quantize(x.flatten(0, -2), rows)
    return q.view(x.shape), scale.view(_factors(x, rows, columns))


@torch.library.custom_op("k2::dequantize_fp8", mutates_args=())
def _dequantize(q: Tensor, scale: Tensor, dtype: torch.dtype, rows: int, columns: int) -> Tensor:
    return _dequantize_formula(q, scale, dtype, rows, columns)


@_dequantize.register_fake
def _(q: Tensor, _scale: Tensor, dtype: torch.dtype, _rows: int, _columns: int) -> Tensor:
    return torch.empty_like(q, dtype=dtype)


@_dequantize.register_kernel(machine.GPU)
def _(q: Tensor, scale: Tensor, dtype: torch.dtype, rows: int, columns: int) -> Tensor:
    if not _kernel_fits(q, dtype, rows, columns):
        return _dequantize_formula(q, scale, dtype, rows, columns)
    return kernels.dequantize(q.flatten(0, -2), scale.flatten(0, -2), dtype, rows).view(q.shape)


def _quantize_formula(x: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    blocks = _tiles(x, rows, columns)  # [..., I, rows, J, columns]
    largest = blocks.abs().amax((-3, -1))
    if not largest.isfinite().all():
        largest = blocks.abs().nan_to_num(0.0, torch.finfo(torch.float32).max).amax((-3, -1))
    scale = largest / LARGEST
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    q = (blocks / scale[..., :, None, :, None]).clamp_(-LARGEST, LARGEST).to(torch.float8_e4m3fn)
    return _untile(q.view(torch.uint8), x.shape).view(torch.float8_e4m3fn), scale


def _dequantize_formula(q: Tensor, scale: Tensor, dtype: torch.dtype, rows: int, columns: int) -> Tensor:
    values = _tiles(_values(q), rows, columns).mul_(scale[..., :, None, :, None])
    return _untile(values, q.shape).to(dtype)


def _values(q: Tensor) -> Tensor:
    """q.float(), by looking up each of the 256 bytes: half the time of the cast on a CPU."""
    table = torch.arange(256, dtype=torch.uint8, device=q.device).view(torch.float8_e4m3fn).float()
    return table.take(q.view(torch.uint8).long())


def _kernel_fits(x: Tensor, dtype: torch.dtype, rows: int, columns: int) -> bool:
    """Whether x [..., M, N] is one matrix to the kernel: a tile may not reach from one into the next."""
    one = x.ndim == 2 or x.shape[-2] % rows == 0
    return x.numel() > 0 and one and kernels.has_kernel(dtype, (rows, columns))


def _factors(x: Tensor, rows: int, columns: int) -> tuple[int, ...]:
    return (*x.shape[:-2], -(-x.shape[-2] // rows), -(-x.shape[-1] // columns))


def _tiles(x: Tensor, rows: int, columns: int) -> Tensor:
    pad = (0, -x.shape[-1] % columns, 0, -x.shape[-2] % rows)
    padded = torch.nn.functional.pad(x.float(), pad) if any(pad) else x.float()
    return padded.unflatten(-1, (-1, columns)).unflatten(-3, (-1, rows))


def _untile(blocks: Tensor, shape: tuple[int, ...]) -> Tensor:
    full = blocks.flatten(-2).flatten(-3, -2)
    return full[..., : shape[-2], : shape[-1]].contiguous()

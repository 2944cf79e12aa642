"""FP8-E4M3 storage in tiles: a quarter of fp32's bytes for a tensor that waits for the backward pass (section 2.4.3).

Each tile of 1×128 numbers (along the last dimension) gets one fp32 factor amax/448, so one outlier spoils 127 neighbours and no
more. Storage only: the paper saw no loss change from it and keeps FP8 out of computation. What surprises: E4M3 saturates,
so an infinity becomes 448·scale and only a NaN stays visible.
"""

import torch
from torch import Tensor

LARGEST = 448.0  # of E4M3


def quantize_fp8(x: Tensor, tile: tuple[int, int] = (1, 128)) -> tuple[Tensor, Tensor]:
    """x [..., M, N] (any float) -> q float8_e4m3fn of x's shape and scale fp32 [..., ⌈M/rows⌉, ⌈N/columns⌉].

    The last tile of a dimension may be ragged. A vector [N] counts as one row. ValueError for a tile that is not positive or
    a tensor that is not floating.
    """
    rows, columns = tile
    if rows < 1 or columns < 1:
        raise ValueError(f"tile is {tile}; both sides must be positive, such as (1, 128)")
    if not x.is_floating_point():
        raise ValueError(f"cannot store {x.dtype} as FP8; quantise floating tensors only")
    blocks = _tiles(x if x.ndim > 1 else x[None], rows, columns)  # [..., I, rows, J, columns]
    scale = blocks.abs().amax((-3, -1)).float() / LARGEST
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    q = (blocks / scale[..., :, None, :, None]).clamp(-LARGEST, LARGEST).to(torch.float8_e4m3fn)
    q = _untile(q.view(torch.uint8), x.shape if x.ndim > 1 else (1, *x.shape)).view(torch.float8_e4m3fn)
    return (q, scale) if x.ndim > 1 else (q[0], scale[0])


def dequantize_fp8(
    q: Tensor, scale: Tensor, dtype: torch.dtype = torch.float32, tile: tuple[int, int] = (1, 128)
) -> Tensor:
    """The inverse up to rounding: relative error at most 2⁻⁴ of a number within a factor 2⁻⁶ of its tile's largest."""
    rows, columns = tile
    matrix, factors = (q, scale) if q.ndim > 1 else (q[None], scale[None])
    expected = (*matrix.shape[:-2], -(-matrix.shape[-2] // rows), -(-matrix.shape[-1] // columns))
    if tuple(factors.shape) != expected:
        raise ValueError(
            f"scale has shape {tuple(scale.shape)}, a {tuple(q.shape)} tensor in tiles of {tile} needs {expected}"
        )
    full = factors.repeat_interleave(rows, -2)[..., : matrix.shape[-2], :]
    full = full.repeat_interleave(columns, -1)[..., : matrix.shape[-1]]
    return (matrix.float() * full).to(dtype).view(q.shape)


def _tiles(x: Tensor, rows: int, columns: int) -> Tensor:
    pad = (0, -x.shape[-1] % columns, 0, -x.shape[-2] % rows)
    padded = torch.nn.functional.pad(x.float(), pad)
    return padded.unflatten(-1, (-1, columns)).unflatten(-3, (-1, rows))


def _untile(blocks: Tensor, shape: tuple[int, ...]) -> Tensor:
    full = blocks.flatten(-2).flatten(-3, -2)
    return full[..., : shape[-2], : shape[-1]].contiguous()

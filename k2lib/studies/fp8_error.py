"""Where does FP8 storage lose what: which tensors bear it, in which tiles, with which scales (section 2.4.3)?

Errors are relative: the norm of what is lost over the norm of what was there.
"""

from collections import defaultdict
from dataclasses import dataclass

import torch
from torch import Tensor

from k2lib.memory import Policy, dequantize_fp8, quantize_fp8
from k2lib.memory.fp8 import LARGEST
from k2lib.model import K2Model
from k2lib.model.regions import listener
from k2lib.studies.kept import kept_bytes

KINDS = ("residual", "norm", "latent", "up-projection", "attention output", "expert input", "swiglu input", "swiglu")
TILES = {"1×32": (1, 32), "1×128": (1, 128), "128×128": (128, 128), "whole tensor": (1 << 30, 1 << 30)}
SCALES = ("fp32", "power of two", "none")


@dataclass(frozen=True)
class KindError:
    tensor: float  # of the stored tensors, over all layers
    gradient: float  # of all gradients together, when this kind alone is stored in FP8


def by_kind(model: K2Model, sequences: Tensor, dtype: str = "float32") -> dict[str, KindError]:
    """Per kind of tensor the error of storing it and the error that this makes in the gradients; sequences [B, T + 1]."""
    lost = _Lost()
    marker = listener.set(lost)
    try:
        model.loss(sequences[:, :-1], sequences[:, 1:])
    finally:
        listener.reset(marker)
    plain = _flat(kept_bytes(model, sequences, Policy(), dtype).gradients)
    errors = {}
    for kind in KINDS:
        stored = _flat(kept_bytes(model, sequences, Policy(fp8={kind}), dtype).gradients)
        errors[kind] = KindError(lost.error(kind), float((stored - plain).norm() / plain.norm()))
    return errors


def by_format(x: Tensor) -> dict[str, dict[str, float]]:
    """Error of storing x [M, N] by size of the tile and format of its scale: of each row, and then the mean over rows."""

    def error(tile: tuple[int, int], scale: str) -> float:
        stored = round_trip(x, tile, scale)
        return sum(relative(*rows) for rows in zip(x, stored, strict=True)) / len(x)

    return {name: {scale: error(tile, scale) for scale in SCALES} for name, tile in TILES.items()}


def beside_an_outlier(x: Tensor, factors: list[float]) -> dict[str, list[float]]:
    """Error of all but one number of x [M, N] when that one is multiplied by each factor, by size of the tile.

    The outlier takes the format's upper end; its neighbours sink into the subnormals, where steps no longer shrink with
    the number, and at last become zero.
    """
    rest = torch.ones_like(x, dtype=torch.bool)
    rest[0, 0] = False
    errors: dict[str, list[float]] = defaultdict(list)
    for factor in factors:
        stretched = x.clone()
        stretched[0, 0] *= factor
        for name, tile in TILES.items():
            errors[name].append(relative(stretched[rest], round_trip(stretched, tile)[rest]))
    return dict(errors)


def round_trip(x: Tensor, tile: tuple[int, int], scale: str = "fp32") -> Tensor:
    """x [M, N] stored in E4M3 and read again. Scales: fp32, rounded up to a power of two (as in MX formats), or none."""
    tile = (min(tile[0], x.shape[0]), min(tile[1], x.shape[1]))
    if scale == "none":
        return x.clamp(-LARGEST, LARGEST).to(torch.float8_e4m3fn).to(x.dtype)
    if scale == "fp32":
        return dequantize_fp8(*quantize_fp8(x, tile), x.dtype, tile)
    _, factors = quantize_fp8(x, tile)
    factors = torch.exp2(factors.log2().ceil())
    full = factors.repeat_interleave(tile[0], 0)[: x.shape[0]].repeat_interleave(tile[1], 1)[:, : x.shape[1]]
    return (x / full).to(torch.float8_e4m3fn).to(x.dtype) * full


def relative(x: Tensor, y: Tensor) -> float:
    """‖y − x‖ / ‖x‖."""
    return float((y.double() - x.double()).norm() / x.double().norm())


class _Lost:
    """Listens to a forward pass and sums squares of what FP8 would lose, by name."""

    def __init__(self):
        self.squares: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])

    def named(self, name: str, tensor: Tensor) -> None:
        if name in KINDS:
            x = tensor.detach().flatten(0, -2).float()
            lost = self.squares[name]
            lost[0] += float((round_trip(x, TILES["1×128"]) - x).square().sum())
            lost[1] += float(x.square().sum())

    def region(self, name: str, function, inputs: tuple):
        results = function(*inputs)
        for result in results if isinstance(results, tuple) else (results,):
            self.named(name, result)
        return results

    def error(self, name: str) -> float:
        lost, whole = self.squares[name]
        return (lost / whole) ** 0.5


def _flat(gradients: dict[str, Tensor]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients.values()])

"""Rows to their experts and back, as operations with gradients: `permute` gathers, `unpermute` sums a token's rows, weighed.

Shapes: T tokens, K experts a token, S = T·K rows sorted by expert, D width. token [S] says whose row each is, place [T, K]
where a token's rows are; each is the other's inverse. On a GPU with CuPy kernels/moe_permute.cu does the moving.
"""

import torch
from torch import Tensor

from k2lib import machine
from k2lib.cuda import moe as kernels
from k2lib.cuda.fp8 import has_kernel


def permute(x: Tensor, token: Tensor, place: Tensor) -> Tensor:
    """x [T, D] -> its rows [S, D] in the order of the experts. ValueError unless token and place fit x and each other."""
    if x.ndim != 2 or place.ndim != 2 or place.shape[0] != x.shape[0] or token.shape != (place.numel(),):
        shapes = ", ".join(str(tuple(t.shape)) for t in (x, token, place))
        raise ValueError(f"permute takes x [T, D], token [T·K] and place [T, K]; got {shapes}")
    return torch.ops.k2.moe_permute(x.contiguous(), token, place)


def unpermute(rows: Tensor, place: Tensor, gates: Tensor) -> Tensor:
    """Σ_k gates[t, k] · rows[place[t, k]] as [T, D], summed in fp32. ValueError unless place and gates fit the rows."""
    if rows.ndim != 2 or place.shape != gates.shape or place.numel() != rows.shape[0]:
        shapes = ", ".join(str(tuple(t.shape)) for t in (rows, place, gates))
        raise ValueError(f"unpermute takes rows [T·K, D], place and gates [T, K]; got {shapes}")
    return torch.ops.k2.moe_unpermute(rows.contiguous(), place, gates.float())


@torch.library.custom_op("k2::moe_permute", mutates_args=())
def _permute(x: Tensor, token: Tensor, place: Tensor) -> Tensor:
    return x[token]


@_permute.register_fake
def _(x: Tensor, token: Tensor, _place: Tensor) -> Tensor:
    return x.new_empty(token.shape[0], x.shape[1])


@_permute.register_kernel(machine.GPU)
def _(x: Tensor, token: Tensor, _place: Tensor) -> Tensor:
    return kernels.permute(x, token) if has_kernel(x.dtype) else x[token]


@torch.library.custom_op("k2::moe_unpermute", mutates_args=())
def _unpermute(rows: Tensor, place: Tensor, gates: Tensor) -> Tensor:
    return _weighed_sum(rows, place, gates)


@_unpermute.register_fake
def _(rows: Tensor, place: Tensor, _gates: Tensor) -> Tensor:
    return rows.new_empty(place.shape[0], rows.shape[1])


@_unpermute.register_kernel(machine.GPU)
def _(rows: Tensor, place: Tensor, gates: Tensor) -> Tensor:
    return (kernels.unpermute if has_kernel(rows.dtype) else _weighed_sum)(rows, place, gates.contiguous())


def _keep_place(ctx, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(inputs[2])


def _permute_gradient(ctx, d_rows: Tensor) -> tuple[Tensor, None, None]:
    (place,) = ctx.saved_tensors
    ones = torch.ones(place.shape, dtype=torch.float32, device=place.device)
    return torch.ops.k2.moe_unpermute(d_rows.contiguous(), place, ones), None, None


def _keep_all(ctx, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _unpermute_gradient(ctx, d_out: Tensor) -> tuple[Tensor, None, Tensor]:
    rows, place, gates = ctx.saved_tensors
    order = place.flatten().argsort()  # place's inverse: which pair each row is of
    d_pairs = gates.flatten()[order, None] * d_out[order // place.shape[1]].float()
    d_gates = (rows[place].float() * d_out[:, None].float()).sum(-1)
    return d_pairs.to(rows.dtype), None, d_gates


_permute.register_autograd(_permute_gradient, setup_context=_keep_place)
_unpermute.register_autograd(_unpermute_gradient, setup_context=_keep_all)


def _weighed_sum(rows: Tensor, place: Tensor, gates: Tensor) -> Tensor:
    return (rows[place].float() * gates[..., None]).sum(1).to(rows.dtype)

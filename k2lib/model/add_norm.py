"""The residual added and the sum normalised in one operation: h = x + residual, y = weight · h / √(mean h² + ε).

On a GPU with CuPy kernels/add_rmsnorm.cu does both in one pass over memory, forward and backward; the formula here says
the same anywhere.
"""

import torch
from torch import Tensor

from k2lib import machine
from k2lib.cuda import norm as kernels
from k2lib.cuda.fp8 import has_kernel

WIDEST = kernels.THREADS * kernels.VALUES * kernels.MOST_PIECES  # row that the kernel holds in registers


def add_rmsnorm(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """(h, y), both [..., D] in x's dtype, of x, residual [..., D] and weight [D], all of one dtype. ValueError otherwise."""
    if x.shape != residual.shape or weight.shape != x.shape[-1:] or not x.dtype == residual.dtype == weight.dtype:
        given = [f"{t.dtype} {tuple(t.shape)}" for t in (x, residual, weight)]
        raise ValueError(
            f"add_rmsnorm takes x and residual of one shape and a weight of its width; got {', '.join(given)}"
        )
    rows = (x.flatten(0, -2), residual.flatten(0, -2))
    h, y, _ = torch.ops.k2.add_rmsnorm(*(t.contiguous() for t in rows), weight, eps)
    return h.view(x.shape), y.view(x.shape)


@torch.library.custom_op("k2::add_rmsnorm", mutates_args=())
def _forward(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    return _formula(x, residual, weight, eps)


@_forward.register_fake
def _(x: Tensor, _residual: Tensor, _weight: Tensor, _eps: float) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(x), torch.empty_like(x), x.new_empty(x.shape[0], dtype=torch.float32)


@_forward.register_kernel(machine.GPU)
def _(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    one_pass = has_kernel(x.dtype) and x.shape[1] <= WIDEST
    return kernels.add_rmsnorm(x, residual, weight, eps) if one_pass else _formula(x, residual, weight, eps)


@torch.library.custom_op("k2::add_rmsnorm_backward", mutates_args=())
def _backward(dy: Tensor, dh: Tensor, h: Tensor, weight: Tensor, rstd: Tensor) -> tuple[Tensor, Tensor]:
    return _gradient_formula(dy, dh, h, weight, rstd)


@_backward.register_fake
def _(_dy: Tensor, _dh: Tensor, h: Tensor, weight: Tensor, _rstd: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(h), torch.empty_like(weight, dtype=torch.float32)


@_backward.register_kernel(machine.GPU)
def _(dy: Tensor, dh: Tensor, h: Tensor, weight: Tensor, rstd: Tensor) -> tuple[Tensor, Tensor]:
    one_pass = has_kernel(h.dtype) and h.shape[1] <= WIDEST
    return (kernels.add_rmsnorm_backward if one_pass else _gradient_formula)(dy, dh, h, weight, rstd)


def _save(ctx, inputs: tuple, output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[0], inputs[2], output[2])
    ctx.mark_non_differentiable(output[2])


def _gradient(ctx, dh: Tensor, dy: Tensor, _drstd: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
    h, weight, rstd = ctx.saved_tensors
    dx, d_weight = torch.ops.k2.add_rmsnorm_backward(dy.contiguous(), dh.contiguous(), h, weight, rstd)
    return dx, dx.clone(), d_weight.to(weight.dtype), None


_forward.register_autograd(_gradient, setup_context=_save)


def _formula(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """h, y [M, D] and rstd [M] fp32; the norm is taken of h as it is stored."""
    h = x + residual
    wide = h.float()
    rstd = (wide.square().mean(-1) + eps).rsqrt()
    return h, (wide * rstd[:, None] * weight.float()).to(x.dtype), rstd


def _gradient_formula(dy: Tensor, dh: Tensor, h: Tensor, weight: Tensor, rstd: Tensor) -> tuple[Tensor, Tensor]:
    """dx [M, D], which is the residual's gradient too, and dweight [D] fp32."""
    unit, dy = h.float() * rstd[:, None], dy.float()
    g = dy * weight.float()
    along = (g * unit).mean(-1, keepdim=True)  # the part that only changes the length, which the norm removes
    dx = (g - unit * along) * rstd[:, None] + dh.float()
    return dx.to(h.dtype), (dy * unit).sum(0)

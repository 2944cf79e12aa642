"""SwiGLU that keeps its input for the backward pass as FP8 tiles, written in the same pass (section 2.4.3).

On a GPU kernels/swiglu_fp8.cu does it; the formula here says the same anywhere. The result is SwiGLU's own, computed from
the input as it came; only the gradient sees the rounding of the stash.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from k2lib import machine
from k2lib.cuda import fp8 as kernels
from k2lib.memory.fp8 import dequantize_fp8, quantize_fp8


def swiglu_fp8(gate_up: Tensor) -> Tensor:
    """silu(gate) · up [..., W] of gate_up [..., 2W], gate first. ValueError for an odd width or a tensor not floating."""
    if not gate_up.is_floating_point() or gate_up.shape[-1] % 2:
        raise ValueError(
            f"swiglu_fp8 takes floating [..., 2W], gate and up; got {gate_up.dtype} {tuple(gate_up.shape)}"
        )
    h, _, _ = torch.ops.k2.swiglu_fp8(gate_up.flatten(0, -2))
    return h.view(*gate_up.shape[:-1], -1)


@torch.library.custom_op("k2::swiglu_fp8", mutates_args=())
def _forward(gate_up: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return _formula(gate_up)


@_forward.register_fake
def _(gate_up: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    rows, width = gate_up.shape[0], gate_up.shape[1] // 2
    q = torch.empty_like(gate_up, dtype=torch.float8_e4m3fn)
    scale = gate_up.new_empty(rows, 2 * -(-width // kernels.COLUMNS), dtype=torch.float32)
    return gate_up.new_empty(rows, width), q, scale


@_forward.register_kernel(machine.GPU)
def _(gate_up: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return kernels.swiglu(gate_up) if kernels.has_kernel(gate_up.dtype) else _formula(gate_up)


@torch.library.custom_op("k2::swiglu_fp8_backward", mutates_args=())
def _backward(dh: Tensor, q: Tensor, scale: Tensor) -> Tensor:
    return _gradient_formula(dh, q, scale)


@_backward.register_fake
def _(dh: Tensor, q: Tensor, _scale: Tensor) -> Tensor:
    return dh.new_empty(q.shape)


@_backward.register_kernel(machine.GPU)
def _(dh: Tensor, q: Tensor, scale: Tensor) -> Tensor:
    if not kernels.has_kernel(dh.dtype):
        return _gradient_formula(dh, q, scale)
    return kernels.swiglu_backward(dh, q, scale)


def _save(ctx, inputs: tuple, output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.save_for_backward(*output[1:])
    ctx.mark_non_differentiable(*output[1:])


def _gradient(ctx, dh: Tensor, _dq: Tensor, _dscale: Tensor) -> Tensor:
    return torch.ops.k2.swiglu_fp8_backward(dh.contiguous(), *ctx.saved_tensors)


_forward.register_autograd(_gradient, setup_context=_save)


def _formula(gate_up: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """gate_up [M, 2W] -> h [M, W], q [M, 2W] float8_e4m3fn, scale [M, 2⌈W/128⌉] fp32: tiles of gate, then of up."""
    gate, up = gate_up.float().chunk(2, -1)
    (q_gate, scale_gate), (q_up, scale_up) = quantize_fp8(gate), quantize_fp8(up)
    q = torch.cat((q_gate.view(torch.uint8), q_up.view(torch.uint8)), -1).view(torch.float8_e4m3fn)
    return (F.silu(gate) * up).to(gate_up.dtype), q, torch.cat((scale_gate, scale_up), -1)


def _gradient_formula(dh: Tensor, q: Tensor, scale: Tensor) -> Tensor:
    """dh [M, W] and the stash -> d_gate_up [M, 2W] in dh's dtype."""
    gate, up = (dequantize_fp8(*half) for half in zip(q.chunk(2, -1), scale.chunk(2, -1), strict=True))
    sigmoid, d = gate.sigmoid(), dh.float()
    d_gate = d * up * sigmoid * (1 + gate * (1 - sigmoid))
    return torch.cat((d_gate, d * gate * sigmoid), -1).to(dh.dtype)

"""kernels/swiglu_fp8.cu, thread by thread, against PyTorch's formula and fp64."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from k2lib.cuda import fp8
from k2lib.cuda.kernel import Kernel
from k2lib.memory import MemoryMeter, quantize_fp8
from k2lib.memory.swiglu import swiglu_fp8

SHAPES = [(1, 1), (3, 128), (2, 130), (17, 40), (5, 1000), (70, 256)]
ORDERS = (1, -1, 0)


def inputs(rows: int, width: int, dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(rows * width)
    return (torch.randn(rows, 2 * width, generator=generator) * 3).to(dtype)


def bits(q: torch.Tensor) -> torch.Tensor:
    return q.view(torch.uint8)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", fp8.TYPES)
def test_forward_gives_swiglu_and_the_stash_of_its_input(dtype, order):
    for rows, width in SHAPES:
        x = inputs(rows, width, dtype)
        h, q, scale = fp8.swiglu(x, partial(Kernel.simulate, order=order))
        gate, up = x.double().chunk(2, -1)
        torch.testing.assert_close(
            h.double(), F.silu(gate) * up, rtol=2**-7 if dtype == torch.bfloat16 else 1e-5, atol=1e-6
        )
        for half, part, factors in zip(x.chunk(2, -1), q.chunk(2, -1), scale.chunk(2, -1), strict=True):
            expected, expected_factors = quantize_fp8(half)
            assert torch.equal(factors, expected_factors) and torch.equal(bits(part), bits(expected)), (rows, width)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", fp8.TYPES)
def test_backward_gives_the_gradient_at_the_stashed_input(dtype, order):
    for rows, width in SHAPES:
        _, q, scale = fp8.swiglu(inputs(rows, width, dtype), Kernel.simulate)
        dh = inputs(rows, width, dtype)[:, :width].contiguous()
        found = fp8.swiglu_backward(dh, q, scale, partial(Kernel.simulate, order=order))
        factors = scale.double().chunk(2, -1)
        stashed = [
            part.double() * factor.repeat_interleave(128, -1)[:, :width]
            for part, factor in zip(q.chunk(2, -1), factors, strict=True)
        ]
        gate, up = (half.requires_grad_() for half in stashed)
        (F.silu(gate) * up).backward(dh.double())
        exact = torch.cat((gate.grad, up.grad), -1)
        torch.testing.assert_close(found.double(), exact, rtol=2**-7 if dtype == torch.bfloat16 else 1e-4, atol=1e-5)


def test_the_operation_is_swiglu_forward_and_within_the_formats_step_backward():
    x = inputs(33, 200, torch.float32).requires_grad_()
    y = inputs(33, 200, torch.float32).requires_grad_()
    h, expected = swiglu_fp8(x), F.silu(y[:, :200]) * y[:, 200:]
    torch.testing.assert_close(h, expected)
    for result, source in ((h, x), (expected, y)):
        result.square().sum().backward()
        assert source.grad is not None
    assert 1e-4 < (x.grad - y.grad).norm() / y.grad.norm() < 0.05


def test_kernel_and_formula_agree_to_rounding():
    x = inputs(9, 300, torch.bfloat16)
    for ours, formula in zip(fp8.swiglu(x, Kernel.simulate), torch.ops.k2.swiglu_fp8(x), strict=True):
        torch.testing.assert_close(ours.float(), formula.float(), rtol=2**-7, atol=1e-6)


def test_only_the_stash_is_kept_for_the_backward_pass():
    x = inputs(64, 512, torch.bfloat16).requires_grad_()
    with MemoryMeter() as meter:
        swiglu_fp8(x)
    assert meter.total_bytes == 64 * 1024 + 4 * 64 * 8  # one byte a number, four a tile


def test_the_operations_keep_their_promises_and_compile():
    x = inputs(5, 40, torch.float32).requires_grad_()
    promises = ("test_schema", "test_faketensor", "test_autograd_registration", "test_aot_dispatch_dynamic")
    torch.library.opcheck(torch.ops.k2.swiglu_fp8.default, (x,), test_utils=promises[1:3])
    compiled = torch.compile(swiglu_fp8, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), swiglu_fp8(x))
    with pytest.raises(ValueError, match=r"takes floating \[..., 2W\]"):
        swiglu_fp8(torch.zeros(3, 5))


def test_leading_dimensions_are_kept():
    x = inputs(12, 16, torch.float32)
    assert torch.equal(swiglu_fp8(x.view(3, 4, 32)), swiglu_fp8(x).view(3, 4, 16))

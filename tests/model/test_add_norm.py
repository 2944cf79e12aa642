"""The fused residual and norm against the two apart, in value and gradient, as formula, as operation and as kernel."""

import pytest
import torch

from k2lib.cuda import norm as kernels
from k2lib.cuda import simulator
from k2lib.cuda.kernel import Kernel
from k2lib.model.add_norm import add_rmsnorm
from k2lib.model.norm import RMSNorm


def drawn(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def test_value_and_gradients_are_those_of_the_two_apart():
    mine = [drawn(3, 5, 24, seed=i, dtype=torch.float32).requires_grad_() for i in (0, 1)]
    theirs = [t.detach().double().requires_grad_() for t in mine]
    apart, weight = RMSNorm(24, 1e-6).double(), drawn(24, seed=2, dtype=torch.float32).requires_grad_()
    apart.weight.data = weight.detach().double()
    h, y = add_rmsnorm(*mine, weight, 1e-6)
    wide = theirs[0] + theirs[1]
    expected = apart.reference(wide)
    torch.testing.assert_close((h.double(), y.double()), (wide, expected), rtol=1e-5, atol=1e-6)
    (h.square().sum() + (y * y.detach().cos()).sum()).backward()
    (wide.square().sum() + (expected * expected.detach().cos()).sum()).backward()
    for a, b in zip([*mine, weight], [*theirs, apart.weight], strict=True):
        torch.testing.assert_close(a.grad.double(), b.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(simulator.missing() is not None, reason=str(simulator.missing()))
def test_formula_and_kernel_agree():
    x, residual, weight = (
        drawn(*shape, seed=i, dtype=torch.bfloat16) for i, shape in enumerate([(7, 40), (7, 40), (40,)])
    )
    for a, b in zip(
        torch.ops.k2.add_rmsnorm(x, residual, weight, 1e-6),
        kernels.add_rmsnorm(x, residual, weight, 1e-6, Kernel.simulate),
        strict=True,
    ):
        torch.testing.assert_close(a.float(), b.float(), rtol=2**-7, atol=1e-6)


def test_the_operation_keeps_its_promises_compiles_and_names_wrong_shapes():
    x, residual, weight = (
        drawn(*shape, seed=i, dtype=torch.float32) for i, shape in enumerate([(4, 16), (4, 16), (16,)])
    )
    arguments = (x.requires_grad_(), residual.requires_grad_(), weight.requires_grad_(), 1e-6)
    torch.library.opcheck(torch.ops.k2.add_rmsnorm.default, arguments)
    compiled = torch.compile(add_rmsnorm, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*arguments), add_rmsnorm(*arguments))
    with pytest.raises(ValueError, match=r"takes x and residual of one shape .* got torch.float32 .4, 16."):
        add_rmsnorm(x, residual, weight[:8], 1e-6)

"""The router as one operation: its numbers, its gradient, what it refuses."""

import pytest
import torch

from k2lib import K2Config
from k2lib.model.choose import choose
from k2lib.model.moe import Router
from k2lib.profiles import SMOKE


def drawn(tokens: int = 30, experts: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(tokens, experts), 0.1 * torch.randn(experts)


def test_numbers_and_gradients_are_the_models_own():
    logits, bias = drawn()
    router = Router(K2Config.preset("nano").replace(**SMOKE.model | dict(n_routed_experts=12, num_experts_per_tok=3)))
    router.e_score_correction_bias.copy_(bias)
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    gates, chosen = choose(ours, bias, 3, router.config.routed_scaling_factor)
    expected, known = router._choose(theirs)
    order, other = chosen.argsort(-1), known.argsort(-1)
    assert torch.equal(chosen.gather(1, order), known.gather(1, other))
    torch.testing.assert_close(gates.gather(1, order), expected.gather(1, other))
    weights = torch.randn(30, 3)
    (gates.gather(1, order) * weights).sum().backward()
    (expected.gather(1, other) * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)
    assert ((ours.grad != 0).sum(-1) == 3).all()


def test_the_operation_is_registered_whole_and_compiles():
    logits, bias = drawn()
    torch.library.opcheck(torch.ops.k2.choose_experts, (logits.requires_grad_(), bias, 3, 2.5))
    compiled = torch.compile(choose, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(logits, bias, 3, 2.5)[1], choose(logits, bias, 3, 2.5)[1])


def test_what_does_not_fit_is_refused():
    logits, bias = drawn()
    with pytest.raises(
        ValueError, match=r"fp32 logits \[T, E\] and bias \[E\]; got torch\.float32 \(30, 12\), torch\.float32 \(11,\)"
    ):
        choose(logits, bias[1:], 3, 1.0)
    with pytest.raises(ValueError, match=r"torch\.bfloat16"):
        choose(logits.bfloat16(), bias, 3, 1.0)
    with pytest.raises(ValueError, match=r"13 of 12 experts cannot be active"):
        choose(logits, bias, 13, 1.0)

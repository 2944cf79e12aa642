"""The kernels of norm, router, experts and clip, thread by thread, against PyTorch's formula and fp64."""

from functools import partial

import pytest
import torch

from k2lib import K2Config, K2Model
from k2lib.cuda import clip, fp8, logits, moe, norm
from k2lib.cuda.kernel import Kernel
from k2lib.memory import quantize_fp8
from k2lib.model.attention import QKPart
from k2lib.model.moe import Router
from k2lib.model.norm import RMSNorm
from k2lib.optim import rescale
from k2lib.optim.qk_clip import QKClip, attention_modules
from k2lib.profiles import SMOKE

ORDERS = (1, -1, 0)
DTYPES = tuple(fp8.TYPES)
CONFIG = K2Config.preset("nano").replace(**SMOKE.model)


def close(dtype: torch.dtype) -> dict[str, float]:
    return {"rtol": 2**-7, "atol": 1e-2} if dtype == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-5}


def drawn(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_add_rmsnorm_and_its_gradients_are_those_of_fp64(dtype, order):
    run = partial(Kernel.simulate, order=order)
    for rows, width in ((1, 8), (3, 100), (5, 257), (4, 2048), (2, 2050), (300, 16)):
        x, residual, weight = (
            drawn(rows, width, dtype=dtype),
            drawn(rows, width, dtype=dtype, seed=1),
            drawn(width, dtype=dtype),
        )
        dy, dh = drawn(rows, width, dtype=dtype, seed=2), drawn(rows, width, dtype=dtype, seed=3)
        h, y, rstd = norm.add_rmsnorm(x, residual, weight, 1e-6, run)
        assert torch.equal(h, x + residual)
        exact = RMSNorm(width, 1e-6).double()
        exact.weight.data = weight.double()
        wide = h.double().requires_grad_()
        expected = exact.reference(wide)
        torch.testing.assert_close(y.double(), expected, **close(dtype))
        dx, d_weight = norm.add_rmsnorm_backward(dy, dh, h, weight, rstd, run)
        expected.backward(dy.double())
        torch.testing.assert_close(dx.double(), wide.grad + dh.double(), **close(dtype))
        torch.testing.assert_close(d_weight.double(), exact.weight.grad, rtol=1e-4, atol=1e-4)


def test_a_row_too_wide_for_a_block_is_refused():
    with pytest.raises(ValueError, match="rows of up to 8192 numbers, not 9000"):
        norm.add_rmsnorm(torch.zeros(1, 9000), torch.zeros(1, 9000), torch.zeros(9000), 1e-6)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("experts, active", [(384, 8), (16, 2), (33, 33), (64, 6), (512, 40)])
def test_the_router_chooses_as_the_model_does(experts, active, order):
    router = Router(
        CONFIG.replace(n_routed_experts=experts, num_experts_per_tok=active, routed_scaling_factor=2.5)
    ).eval()
    torch.nn.init.normal_(router.weight, std=0.3, generator=torch.Generator().manual_seed(0))
    router.e_score_correction_bias.copy_(0.1 * drawn(experts))
    x = drawn(21, CONFIG.hidden_size, seed=4)
    logits = x @ router.weight.T
    gates, chosen = moe.choose(
        logits.detach(), router.e_score_correction_bias, active, 2.5, partial(Kernel.simulate, order=order)
    )
    expected_gates, expected = router(x)
    by_number = expected.argsort(-1)
    ours = chosen.argsort(-1)
    assert torch.equal(chosen.gather(1, ours), expected.gather(1, by_number))
    torch.testing.assert_close(gates.gather(1, ours), expected_gates.gather(1, by_number).detach())
    biased = (logits.sigmoid() + router.e_score_correction_bias).gather(1, chosen)
    assert (biased.diff(dim=1) <= 1e-6).all()  # best first


def test_the_router_breaks_ties_by_number_and_refuses_what_it_cannot_hold():
    _, chosen = moe.choose(torch.zeros(2, 40), torch.zeros(40), 5, 1.0, Kernel.simulate)
    assert chosen.tolist() == [[0, 1, 2, 3, 4]] * 2
    with pytest.raises(ValueError, match="1 to 600 of up to 512 experts, not 8"):
        moe.choose(torch.zeros(2, 600), torch.zeros(600), 8, 1.0)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_go_to_their_experts_and_come_home_weighed(dtype, order):
    run = partial(Kernel.simulate, order=order)
    for tokens, active, width in ((1, 1, 1), (7, 3, 100), (20, 8, 2056)):
        x = drawn(tokens, width, dtype=dtype)
        order_of_pairs = torch.randperm(tokens * active, generator=torch.Generator().manual_seed(1))
        token, place = order_of_pairs // active, order_of_pairs.argsort().view(tokens, active)
        rows = moe.permute(x, token, run)
        assert torch.equal(rows, x[token])
        gates = drawn(tokens, active, seed=2).abs()
        exact = (rows[place].double() * gates.double()[..., None]).sum(1)
        torch.testing.assert_close(moe.unpermute(rows, place, gates, run).double(), exact, **close(dtype))
        q, scale = moe.permute_fp8(x, token, run)
        expected, factors = quantize_fp8(rows)
        assert torch.equal(scale, factors) and torch.equal(q.view(torch.uint8), expected.view(torch.uint8))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_launch_rescales_the_heads_of_all_layers_as_qk_clip_does(dtype, order, monkeypatch):
    torch.manual_seed(0)
    ours, theirs = (K2Model(CONFIG).to(dtype) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    modules, maxima = attention_modules(theirs), {}
    parts, factors = [], []
    for number, (name, module) in enumerate(attention_modules(ours).items()):
        maxima[name] = torch.tensor([5.0, 20.0, 10.0, 40.0]).roll(number)
        gamma = 10.0 / maxima[name].clamp_min(10.0)
        parts += module.qk_parts()
        factors += [gamma**part.exponent for part in module.qk_parts()]
    QKClip(tau=10.0).clip(modules, maxima)
    clip.rescale(parts, factors, partial(Kernel.simulate, order=order))
    for (name, mine), other in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, other, msg=name, rtol=2**-7 if dtype == torch.bfloat16 else 1e-6, atol=0)
    again = K2Model(CONFIG).to(dtype)
    again.load_state_dict(theirs.state_dict())
    QKClip(tau=10.0).clip(modules, maxima)  # in a loop
    monkeypatch.setattr(rescale, "_fit_one_launch", lambda _: True)
    monkeypatch.setattr(rescale.kernels, "rescale", partial(clip.rescale, run=partial(Kernel.simulate, order=order)))
    QKClip(tau=10.0).clip(attention_modules(again), maxima)
    for (name, one), other in zip(again.state_dict().items(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, msg=name, rtol=2**-7 if dtype == torch.bfloat16 else 1e-6, atol=0)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="of one dtype"):
        clip.rescale([parts[0], parts[1]._replace(weight=torch.nn.Parameter(parts[1].weight.double()))], factors[:2])


@pytest.mark.parametrize("order", ORDERS)
def test_the_largest_logit_is_exact_where_it_may_pass_and_a_bound_elsewhere(order):
    for pairs, length, width in ((1, 1, 16), (3, 70, 48), (2, 130, 192)):
        q, k = (
            drawn(pairs, length, width, dtype=torch.bfloat16),
            drawn(pairs, length, width, dtype=torch.bfloat16, seed=1),
        )
        q[0] *= 0.01
        scores = (q.double() @ k.double().transpose(1, 2)) * width**-0.5
        future = torch.ones(length, length, dtype=torch.bool).triu(1)
        expected = scores.masked_fill(future, -torch.inf).amax((1, 2))
        maxima, exact = logits.max_logits(q, k, width**-0.5, 1.0, partial(Kernel.simulate, order=order))
        assert exact.tolist() == [False] + [True] * (pairs - 1)
        torch.testing.assert_close(maxima[exact].double(), expected[exact], rtol=1e-5, atol=1e-5)
        assert (maxima[~exact] >= expected[~exact] - 1e-6).all() and (maxima[~exact] <= 1.0).all()


def test_only_negative_logits_are_told_and_a_nan_comes_out_as_infinity():
    q = torch.ones(1, 20, 16, dtype=torch.bfloat16)
    maxima, exact = logits.max_logits(q, -q, 1.0, 5.0, Kernel.simulate)
    assert exact.all() and maxima.tolist() == [-16.0]
    q[0, 3, 4] = torch.nan
    maxima, exact = logits.max_logits(q, torch.ones_like(q), 1.0, 50.0, Kernel.simulate)
    assert exact.all() and maxima.isposinf().all()
    with pytest.raises(ValueError, match="D a multiple of 16"):
        logits.max_logits(q[..., :10], q[..., :10], 1.0, 1.0)


def test_a_router_that_sees_nan_or_infinities_still_names_experts():
    inf, nan = float("inf"), float("nan")
    scores = drawn(4, 40)
    scores[0], scores[1, :38], scores[2, 5], scores[3, 7] = nan, -inf, nan, inf
    gates, chosen = moe.choose(scores, torch.zeros(40), 8, 1.0, Kernel.simulate)
    assert ((chosen >= 0) & (chosen < 40)).all() and all(len(set(row)) == 8 for row in chosen.tolist())
    assert gates[0].isnan().all() and gates[1:].isfinite().all() and chosen[3, 0] == 7 and 5 not in chosen[2]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_nan_stays_in_its_row_and_small_numbers_stay_exact(dtype):
    x = drawn(4, 40, dtype=dtype)
    x[1, 3], x[2] = float("nan"), 1e-30
    x[3, :4] = torch.tensor([0.0, -0.0, 1e-39, -1e-40])
    h, y, _ = norm.add_rmsnorm(x, torch.zeros_like(x), torch.ones_like(x[0]), 1e-6, Kernel.simulate)
    assert torch.equal(h[2:], x[2:]) and y[1].isnan().all() and y[[0, 2, 3]].isfinite().all()
    out, q, scale = fp8.swiglu(x, Kernel.simulate)
    formula, expected, factors = torch.ops.k2.swiglu_fp8(x)
    assert torch.equal(scale, factors) and torch.equal(q.view(torch.uint8), expected.view(torch.uint8))
    torch.testing.assert_close(out.float(), formula.float(), rtol=2**-7, atol=0, equal_nan=True)
    assert out[1].isnan().sum() == 1
    place, gates = torch.arange(4).view(4, 1), torch.ones(4, 1)
    moved = moe.unpermute(moe.permute(x, torch.arange(4), Kernel.simulate), place, gates, Kernel.simulate)
    torch.testing.assert_close(moved, x, rtol=0, atol=0, equal_nan=True)


def test_slices_that_start_anywhere_are_read_and_a_weight_that_does_is_refused():
    x = drawn(5, 99)[1:, 1:]  # neither contiguous nor aligned
    row = drawn(4, 33).flatten()[33:].view(3, 33)  # contiguous, from byte 132 on
    for part in (x, row):
        (q, scale), (expected, factors) = fp8.quantize(part, run=Kernel.simulate), quantize_fp8(part)
        assert torch.equal(q.view(torch.uint8), expected.view(torch.uint8)) and torch.equal(scale, factors)
        h, _, _ = norm.add_rmsnorm(part, part, torch.ones(part.shape[1] + 1)[1:], 1e-6, Kernel.simulate)
        assert torch.equal(h, part + part)
        assert torch.equal(moe.permute(part, torch.tensor([9, 2, 0])[1:], Kernel.simulate), part[[2, 0]])
    weight = torch.nn.Parameter(drawn(40)[1:33].view(4, 8))
    with pytest.raises(ValueError, match="from a multiple of 16 bytes on"):
        clip.rescale([QKPart(weight, 2, 0, 2, 1.0)], [torch.ones(2)], Kernel.simulate)

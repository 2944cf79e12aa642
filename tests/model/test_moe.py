"""Sparse experts: the grouped path equals one expert after another; routing is balanced without a loss."""

import pytest
import torch

from k2lib.config import K2Config
from k2lib.model import parity
from k2lib.model.moe import Experts, MoE, Router, max_violation, update_router_bias
from k2lib.studies.routing import balancing, expert_shares

CONFIG = K2Config.preset("nano").replace(hidden_size=32, moe_intermediate_size=16, n_routed_experts=8)


def routed(config: K2Config, tokens: int, seed: int = 0, experts: range | None = None):
    """Experts, x [T, D], gates [T, K] and choices [T, K], of which every token's are distinct."""
    torch.manual_seed(seed)
    module = Experts(config)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    scores = torch.randn(tokens, config.n_routed_experts)
    if experts is not None:
        scores[:, list(experts)] += 100
    chosen = scores.topk(config.num_experts_per_tok).indices
    gates = torch.rand(chosen.shape)
    return module, torch.randn(tokens, config.hidden_size), gates, chosen


@pytest.mark.parametrize(("tokens", "only"), [(1, None), (50, None), (50, range(4)), (700, None)])
def test_grouped_experts_equal_one_expert_after_another(tokens, only):
    module, x, gates, chosen = routed(CONFIG, tokens, experts=only)
    results = []
    for run in (module, module.reference):
        inputs = x.clone().requires_grad_(), gates.clone().requires_grad_()
        output = run(*inputs, chosen)
        results.append([output, *torch.autograd.grad(output.square().sum(), [*inputs, *module.parameters()])])
    for mine, plain in zip(*results, strict=True):
        torch.testing.assert_close(mine, plain, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("only", [None, range(4)])
def test_padded_bf16_experts_are_as_exact_as_the_format(only):
    module, x, gates, chosen = routed(CONFIG, 700, experts=only)
    results = []
    for mixed in (True, False):
        inputs = x.clone().requires_grad_(), gates.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            output = module(*inputs, chosen)
        results.append([output, *torch.autograd.grad(output.float().sum(), [*inputs, *module.parameters()])])
    for mixed, exact in zip(*results, strict=True):
        assert mixed.isfinite().all()
        assert (mixed.float() - exact).norm() < 0.02 * exact.norm()
    for gradient in results[0][-2:]:
        assert gradient.dtype == torch.float32
        if only is not None:  # experts that no token chose learn nothing
            assert not gradient[4:].any()


def test_the_router_weighs_by_scores_and_chooses_by_biased_ones():
    torch.manual_seed(0)
    router = Router(CONFIG)
    torch.nn.init.normal_(router.weight)
    x = torch.randn(64, CONFIG.hidden_size)
    router.e_score_correction_bias[3] = 10.0
    gates, chosen = router(x)
    assert (chosen == 3).any(1).all()
    scores = (x @ router.weight.t()).sigmoid().gather(1, chosen)
    torch.testing.assert_close(gates, scores / scores.sum(1, keepdim=True) * CONFIG.routed_scaling_factor)


def test_routing_is_the_same_under_mixed_precision():
    torch.manual_seed(0)
    router = Router(CONFIG).eval()
    torch.nn.init.normal_(router.weight)
    x = torch.randn(256, CONFIG.hidden_size)
    plain = router(x)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = router(x)
    assert torch.equal(plain[1], mixed[1]) and torch.equal(plain[0], mixed[0]) and mixed[0].dtype == torch.float32


def test_a_token_stays_within_its_best_groups():
    config = CONFIG.replace(n_group=4, topk_group=2)
    torch.manual_seed(0)
    router = Router(config)
    torch.nn.init.normal_(router.weight)
    router.e_score_correction_bias -= 5  # negative scores must not fall behind closed groups
    x = torch.randn(64, config.hidden_size)
    _, chosen = router(x)
    scores = (x @ router.weight.t()).sigmoid().view(64, 4, 2).sum(-1)
    for token, groups in enumerate(scores.topk(2).indices):
        assert set((chosen[token] // 2).tolist()) == set(groups.tolist())


def test_the_load_counts_training_tokens_only():
    torch.manual_seed(0)
    moe = MoE(CONFIG)
    for parameter in moe.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x = torch.randn(2, 9, CONFIG.hidden_size)
    moe.eval()(x)
    with torch.no_grad():
        moe.train()(x)
    assert moe.gate.load.sum() == 0
    moe(x)
    moe(x)
    assert moe.gate.load.sum() == 2 * 18 * CONFIG.num_experts_per_tok  # no token is dropped


def test_the_bias_moves_by_the_sign_less_its_mean_and_counting_starts_afresh():
    router = Router(CONFIG)
    router.load.copy_(torch.tensor([8.0, 0, 1, 1, 1, 1, 2, 2]))  # mean 2
    router.update_bias(0.1)
    sign = torch.tensor([-1.0, 1, 1, 1, 1, 1, 0, 0])
    torch.testing.assert_close(router.e_score_correction_bias, 0.1 * (sign - sign.mean()))
    assert router.e_score_correction_bias.sum().abs() < 1e-6 and not router.load.any()


def test_the_update_reaches_every_router_of_a_model():
    model = torch.nn.ModuleList([MoE(CONFIG), torch.nn.Linear(2, 2), MoE(CONFIG)])
    for moe in (model[0], model[2]):
        moe.gate.load[0] = 5
    update_router_bias(model, rate=1e-3)
    assert all(moe.gate.e_score_correction_bias[0] < 0 for moe in (model[0], model[2]))


def test_balancing_lowers_the_violation():
    violation = balancing(CONFIG, steps=150, seed=0, tokens=512)
    settled = {name: sum(values[-20:]) / 20 for name, values in violation.items()}
    assert settled["selection bias"] < 0.5 * settled["no balancing"]
    assert max_violation(torch.tensor([3.0, 1, 1, 1])) == pytest.approx(1.0)


def test_shares_count_the_choices_of_every_sparse_layer():
    model = parity.random_model(parity.cases()["K2"], 0)
    shares = expert_shares(model, torch.randint(0, 128, (2, 50)))
    assert shares.shape == (2, 8)
    torch.testing.assert_close(shares.sum(1), torch.ones(2))
    model.layers[1].mlp.gate.e_score_correction_bias[5] = 10.0
    assert expert_shares(model, torch.randint(0, 128, (2, 50)))[0, 5] == 0.5  # one of every token's two choices
    assert not any(module._forward_hooks for module in model.modules())

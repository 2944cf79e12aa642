"""Counts against the real thing: every parameter on the meta device, FLOPs against PyTorch's own counter."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from k2lib import K2Config, K2Model
from k2lib.model import accounting, parity
from k2lib.model.cache import LatentCache

DENSE = parity.cases()["K2"].replace(first_k_dense_replace=3)  # PyTorch's counter does not know grouped products
K2 = K2Config.preset("kimi-k2")


@pytest.mark.parametrize("name", ["nano", "small", "moonlight", "deepseek-v3", "kimi-k2"])
def test_parameters_are_counted_to_the_last_one(name):
    with torch.device("meta"):
        model = K2Model(K2Config.preset(name))
    count = accounting.count_parameters(K2Config.preset(name))
    assert count.total == sum(p.numel() for p in model.parameters()) == sum(count.by_component.values())


@pytest.mark.parametrize("seed", range(8))
def test_parameters_of_random_configs_are_counted_to_the_last_one(seed):
    config = parity.random_config(seed)
    assert accounting.count_parameters(config).total == sum(p.numel() for p in K2Model(config).parameters())


def test_the_released_configs_count_to_these_integers():
    k2, v3 = (accounting.count_parameters(K2Config.preset(name)) for name in ("kimi-k2", "deepseek-v3"))
    assert k2.total == 1_026_408_209_408
    assert (k2.activated, k2.activated_with_embedding) == (31_687_072_768, 32_861_477_888)
    assert (v3.total, v3.activated) == (671_026_404_352, 36_625_603_584)
    all_sparse = accounting.count_parameters(K2.replace(first_k_dense_replace=0))
    assert round(all_sparse.total / 1e9) == 1043  # the paper's Table 4


def test_one_token_uses_the_weights_that_its_gradient_touches():
    config = parity.cases()["K2"]
    model = parity.random_model(config, 0)
    model(torch.tensor([[5]])).sum().backward()
    touched = sum(
        int((p.grad.flatten(1) != 0).any(1).sum()) * p.grad[0].numel() if "experts.gate_up" in name else 0
        for name, p in model.named_parameters()
        if p.dim() == 3
    )
    assert touched == 2 * config.num_experts_per_tok * 2 * 32 * 64  # two sparse layers, gate and up of two experts
    expert = 3 * 64 * 32
    count = accounting.count_parameters(config)
    assert count.total - count.activated_with_embedding == 2 * (8 - 2) * expert


def test_decoding_flops_are_those_that_pytorch_counts():
    model, context = parity.random_model(DENSE, 0), 200
    cache = LatentCache(model, 1, context)
    with torch.no_grad():
        model.hidden(torch.randint(0, 128, (1, context - 1)), cache)
        with FlopCounterMode(display=False) as counter:
            model.lm_head(model.hidden(torch.tensor([[3]]), cache))
    expected = accounting.inference_flops(DENSE, context, absorbed=True)
    assert counter.get_total_flops() == pytest.approx(expected, rel=0.01)


def test_training_flops_are_those_that_pytorch_counts():
    model = parity.random_model(DENSE, 0).train()
    tokens = torch.randint(0, 128, (2, 257))
    with FlopCounterMode(display=False) as counter:
        model.loss(tokens[:, :-1], tokens[:, 1:]).backward()
    # ours leaves out what attention computes twice (its scores again) and masks (half of each diagonal chunk)
    assert 1.0 < counter.get_total_flops() / (512 * accounting.training_flops(DENSE, 256)) < 1.4


def test_doubling_the_heads_costs_what_the_paper_says_when_only_the_nope_part_is_counted():
    doubled = K2.replace(num_attention_heads=128)
    exact = accounting.inference_flops(doubled, 131_072) / accounting.inference_flops(K2, 131_072)
    assert exact == pytest.approx(1.865, abs=0.001)
    plain = [
        2 * accounting.count_parameters(c).activated_with_embedding
        + accounting.attention_flops(c, 131_072, c.qk_nope_head_dim + c.v_head_dim)
        for c in (K2, doubled)
    ]
    assert plain[1] / plain[0] == pytest.approx(1.83, abs=0.005)


def test_the_latent_cache_does_not_grow_with_the_heads():
    one, two = (accounting.cache_elements_per_token(K2.replace(num_attention_heads=h)) for h in (64, 128))
    assert one["latent"] == two["latent"] == 61 * (512 + 64)
    assert two["multi-head"] == 2 * one["multi-head"] == 2 * 61 * 64 * (192 + 128)

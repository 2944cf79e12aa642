"""The fast pieces against their plain references: attention, norm, loss, rotary positions."""

import pytest
import torch
import torch.nn.functional as F

from k2lib.config import K2Config, YaRN
from k2lib.model import K2Model, causal, loss, parity, rope
from k2lib.model.attention import LatentAttention
from k2lib.model.norm import RMSNorm


def gradients(output: torch.Tensor, *inputs: torch.Tensor) -> list[torch.Tensor]:
    weight = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output.dtype)
    return list(torch.autograd.grad((output * weight).sum(), inputs, retain_graph=True))


@pytest.mark.parametrize(("length", "chunk"), [(1, 1), (7, 3), (64, 64), (100, 64), (129, 32)])
def test_chunked_attention_is_attention(length, chunk):
    torch.manual_seed(length)
    q, k = (torch.randn(5, length, 12, requires_grad=True) for _ in range(2))
    v = torch.randn(5, length, 7, requires_grad=True)
    output, largest = causal.CausalAttention.apply(q, k, v, 0.3, chunk)
    expected, expected_largest = causal.reference(q, k, v, 0.3)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(largest, expected_largest)
    for mine, theirs in zip(gradients(output, q, k, v), gradients(expected, q, k, v), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("chunk", [3, 64])
def test_attention_does_not_see_another_document(chunk):
    torch.manual_seed(0)
    q, k = (torch.randn(6, 50, 12, requires_grad=True) for _ in range(2))
    v = torch.randn(6, 50, 7, requires_grad=True)
    starts = torch.stack([torch.tensor([0] * 20 + [20] * 1 + [21] * 29), torch.zeros(50, dtype=torch.int64)])
    output, largest = causal.CausalAttention.apply(q, k, v, 0.3, chunk, starts)
    expected, expected_largest = causal.reference(q, k, v, 0.3, starts.repeat_interleave(3, 0))
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(largest, expected_largest)
    for mine, theirs in zip(gradients(output, q, k, v), gradients(expected, q, k, v), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)
    apart, _ = causal.CausalAttention.apply(*(t[:3, 21:] for t in (q, k, v)), 0.3, chunk)
    torch.testing.assert_close(output[:3, 21:], apart)


def test_attention_keeps_nothing_that_grows_with_the_square_of_the_length():
    sizes = []
    q, k, v = (torch.randn(2, 512, 8, requires_grad=True) for _ in range(3))
    with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
        causal.CausalAttention.apply(q, k, v, 1.0, 64)
    assert max(sizes) == q.numel()


def test_attention_stays_finite_for_enormous_logits():
    q = torch.full((1, 70, 4), 1e4, requires_grad=True)
    output, largest = causal.CausalAttention.apply(q, q, q, 1.0, 64)
    assert output.isfinite().all()
    assert largest.item() == pytest.approx(4e8)
    assert torch.autograd.grad(output.sum(), q)[0].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_norm_is_the_norm_of_pytorch(dtype):
    torch.manual_seed(0)
    norm = RMSNorm(48, 1e-6)
    torch.nn.init.uniform_(norm.weight, 0.5, 2)
    x = torch.randn(3, 5, 48, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        output = norm(x)
    expected = F.rms_norm(x, (48,), norm.weight, 1e-6).to(dtype)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(norm.reference(x), F.rms_norm(x, (48,), norm.weight, 1e-6))
    for mine, theirs in zip(gradients(output, x, norm.weight), gradients(expected, x, norm.weight), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("rows", [1, 256, 600])
def test_the_chunked_loss_is_cross_entropy(rows):
    torch.manual_seed(rows)
    hidden, weight = torch.randn(rows, 16, requires_grad=True), torch.randn(50, 16, requires_grad=True)
    targets, weights = torch.randint(0, 50, (rows,)), torch.rand(rows)
    mine, plain = (
        loss.LinearCrossEntropy.apply(hidden, weight, targets, weights),
        loss.reference(hidden, weight, targets, weights),
    )
    torch.testing.assert_close(mine, plain)
    for a, b in zip(gradients(mine, hidden, weight), gradients(plain, hidden, weight), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_the_loss_of_a_hopeless_target_is_finite():
    hidden, weight = torch.tensor([[300.0]]), torch.tensor([[1.0], [-1.0], [0.0]])
    value = loss.cross_entropy(hidden, weight, torch.tensor([1]), None)
    assert value.item() == pytest.approx(600)


def test_weights_choose_the_targets_that_count():
    model = parity.random_model(parity.cases()["K2"], 0)
    tokens = torch.randint(0, 128, (2, 21))
    weights = torch.zeros(2, 20)
    weights[0, 3:7] = 1
    expected = -model.token_logprobs(tokens)[0, 3:7].mean()
    torch.testing.assert_close(model.loss(tokens[:, :-1], tokens[:, 1:], weights), expected)
    torch.testing.assert_close(model.loss(tokens[:, :-1], tokens[:, 1:], weights.bool()), expected)


def test_token_logprobs_are_those_of_the_logits_and_only_the_wanted_ones():
    model = parity.random_model(parity.cases()["K2"], 0)
    tokens = torch.randint(0, 128, (2, 30))
    expected = model(tokens[:, :-1]).log_softmax(-1).gather(-1, tokens[:, 1:, None]).squeeze(-1)
    torch.testing.assert_close(model.token_logprobs(tokens), expected)
    wanted = torch.rand(2, 29) < 0.3
    torch.testing.assert_close(model.token_logprobs(tokens, wanted), expected * wanted)
    assert model.token_logprobs(tokens, wanted).requires_grad


def test_rotation_depends_on_the_distance_only():
    config = parity.cases()["K2"]
    frequencies = rope.inverse_frequencies(config)
    q, k = torch.randn(2, 1, config.qk_rope_head_dim)

    def product(query_at, key_at):
        q_turned, k_turned = (
            rope.rotate(x, *rope.rotation(config, frequencies, torch.tensor([at])))
            for x, at in ((q, query_at), (k, key_at))
        )
        return float((q_turned * k_turned).sum())

    assert product(9, 4) == pytest.approx(product(105, 100), abs=1e-4)
    assert product(9, 4) != pytest.approx(product(9, 5), abs=1e-2)


def test_yarn_leaves_the_fast_pairs_and_slows_the_others_by_the_factor():
    config = K2Config.preset("kimi-k2")
    plain, slowed = (rope.inverse_frequencies(c) for c in (config.replace(yarn=None), config))
    ratio = plain / slowed
    turns = 4096 * plain / (2 * torch.pi)  # over the original context
    assert torch.allclose(ratio[turns > 2], torch.ones(())) and torch.allclose(ratio[turns < 0.5], torch.tensor(32.0))
    gentle = rope.inverse_frequencies(config.replace(yarn=YaRN(32.0, 4096, 32.0, 1.0)))
    assert ((plain / gentle > 1.1) & (plain / gentle < 31)).sum() > 5


def attention_and_input(seed: int = 0):
    config = parity.cases()["K2"]
    torch.manual_seed(seed)
    attention = LatentAttention(config).train()
    cos, sin = rope.rotation(config, rope.inverse_frequencies(config), torch.arange(40))
    return attention, (torch.randn(2, 40, config.hidden_size), cos, sin)


def test_maximum_logits_are_recorded_in_training_only_and_keep_the_largest():
    attention, inputs = attention_and_input()
    attention.eval()(*inputs)
    with torch.no_grad():
        attention.train()(*inputs)
    assert attention.max_logits is None
    attention(*inputs)
    first = attention.max_logits.clone()
    attention(inputs[0] * 0.01, *inputs[1:])
    assert first.shape == (4,) and torch.equal(attention.max_logits, first)
    assert "max_logits" not in attention.state_dict()


def test_maximum_logits_are_those_of_the_scores():
    attention, (x, cos, sin) = attention_and_input()
    c = attention.config
    attention(x, cos, sin)
    nope, rotary = attention.queries(x, cos, sin)
    latent, shared = attention.latents(x, cos, sin)
    keys = attention.kv_b_proj(latent).unflatten(-1, (c.num_attention_heads, -1))[..., : c.qk_nope_head_dim]
    scores = torch.einsum("bthn,bshn->bhts", nope, keys) + torch.einsum("bthr,bsr->bhts", rotary, shared)
    seen = (scores * c.softmax_scale).masked_fill(torch.ones(40, 40).triu(1).bool(), float("-inf"))
    torch.testing.assert_close(attention.max_logits, seen.amax((0, 2, 3)), atol=1e-5, rtol=1e-5)


def test_scaling_the_parts_of_one_head_scales_its_logits_and_no_other():
    attention, inputs = attention_and_input()
    value_before = attention.kv_b_proj.weight.view(4, -1, 16)[:, 16:].clone()
    attention(*inputs)
    before, attention.max_logits = attention.max_logits, None
    gamma = torch.tensor([1.0, 0.25, 1.0, 1.0])
    with torch.no_grad():
        for part in attention.qk_parts():
            rows = part.weight.view(part.heads, -1, part.weight.shape[1])[:, part.start : part.stop]
            rows *= (gamma**part.exponent)[:, None, None]
    attention(*inputs)
    torch.testing.assert_close(attention.max_logits, before * gamma)
    assert torch.equal(attention.kv_b_proj.weight.view(4, -1, 16)[:, 16:], value_before)


def test_weights_start_at_the_configured_width():
    config = K2Config.preset("nano").replace(initializer_range=0.05, vocab_size=512)
    for name, value in K2Model(config).named_parameters():
        if value.dim() > 1:
            assert value.std().item() == pytest.approx(0.05, rel=0.1), name
        else:
            assert (value == 1).all(), name

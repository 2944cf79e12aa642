"""Newton–Schulz, Muon and QK-Clip against plain references: an SVD, torch.optim.Muon, and the logits themselves."""

import io
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from k2lib import K2Model
from k2lib.model import parity
from k2lib.optim import MuonClip, QKClip, newton_schulz
from k2lib.optim.schedule import wsd

TINY = parity.cases()["K2"]


def polynomial(g, coefficients, steps=5):
    """The iteration in fp64, straight from its formula, on singular values alone."""
    u, s, v = torch.linalg.svd(g.double(), full_matrices=False)
    s = s / s.norm()
    a, b, c = coefficients
    for _ in range(steps):
        s = a * s + b * s**3 + c * s**5
    return u @ torch.diag(s) @ v


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 40), m=st.integers(1, 40), seed=st.integers(0, 99), scale=st.sampled_from([1e-12, 1.0, 1e12]))
def test_newton_schulz_is_its_polynomial_of_the_singular_values(n, m, seed, scale):
    g = torch.randn(n, m, generator=torch.Generator().manual_seed(seed))
    ours = newton_schulz(g * scale, dtype=torch.float32)
    assert (ours - polynomial(g, (3.4445, -4.7750, 2.0315))).norm() <= 2e-3 * max(1, min(n, m)) ** 0.5


def test_singular_values_end_near_one_and_bf16_agrees():
    g = torch.randn(2, 64, 128, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(newton_schulz(g, dtype=torch.float32))
    assert values.min() > 0.6 and values.max() < 1.25
    difference = newton_schulz(g, dtype=torch.bfloat16).float() - newton_schulz(g, dtype=torch.float32)
    assert difference.norm() / values.norm() < 0.04


def test_a_batch_is_its_matrices_and_zero_stays_zero():
    g = torch.randn(3, 8, 20)
    g[1] = 0
    together = newton_schulz(g, dtype=torch.float32)
    assert together[1].abs().max() == 0
    torch.testing.assert_close(together[2], newton_schulz(g[2], dtype=torch.float32), atol=1e-5, rtol=1e-4)


def test_wrong_input_of_newton_schulz_is_named():
    with pytest.raises(ValueError, match=r"\(3,\)"):
        newton_schulz(torch.randn(3))
    with pytest.raises(ValueError, match="'jordan'"):
        newton_schulz(torch.randn(3, 3), coefficients="jordan")


def test_updates_agree_with_torch_muon_within_bf16():
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(48, 96)) for _ in range(2))
    a = MuonClip([{"params": [ours]}], lr=0.1, weight_decay=0.1)
    b = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        ours.grad = torch.randn(48, 96)
        theirs.grad = ours.grad.clone()
        a.step()
        b.step()
    moved = (ours - 1).norm()
    assert (ours - theirs).norm() / moved < 0.03


def test_the_rms_of_an_update_is_a_little_under_0_2_for_any_shape():
    for shape in ((64, 64), (32, 128), (200, 40)):
        p = nn.Parameter(torch.zeros(shape))
        p.grad = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        MuonClip([{"params": [p]}], lr=1.0).step()
        assert p.square().mean().sqrt().item() == pytest.approx(0.18, abs=0.02)


def test_every_expert_and_each_half_of_a_fused_projection_is_its_own_matrix():
    torch.manual_seed(0)
    stack = nn.Parameter(torch.zeros(3, 16, 24))
    stack.grad = torch.randn(3, 16, 24)
    MuonClip([{"params": [stack], "blocks": 2}], lr=1.0, ns_dtype=torch.float32, weight_decay=0.0).step()
    half = newton_schulz(1.95 * stack.grad[1, 8:], dtype=torch.float32)
    torch.testing.assert_close(-stack[1, 8:], 0.2 * 24**0.5 * half, atol=1e-4, rtol=1e-3)


def test_an_idle_expert_is_left_alone_whatever_its_momentum():
    stack = nn.Parameter(torch.zeros(2, 8, 8))
    optimizer = MuonClip([{"params": [stack]}], lr=0.1)
    stack.grad = torch.randn(2, 8, 8)
    optimizer.step()
    before = stack.detach().clone()
    stack.grad = torch.randn(2, 8, 8)
    stack.grad[1] = 0
    optimizer.step()
    assert torch.equal(stack[1], before[1])
    assert not torch.equal(stack[0], before[0])


def test_for_model_puts_each_parameter_where_it_belongs_once():
    model = K2Model(TINY)
    optimizer = MuonClip.for_model(model, lr=0.1)
    where = {name: group["algorithm"] for group in optimizer.param_groups for name in group["param_names"]}
    assert set(where) == {name for name, _ in model.named_parameters()}
    assert where["embed_tokens.weight"] == where["lm_head.weight"] == where["norm.weight"] == "adamw"
    assert where["layers.1.mlp.gate.weight"] == where["layers.1.mlp.experts.down_proj"] == "muon"
    fused = [g for g in optimizer.param_groups if g["blocks"] == 2]
    assert all(name.endswith("gate_up_proj") for g in fused for name in g["param_names"])


def test_the_gradient_is_not_changed():
    model = K2Model(TINY).train()
    model.loss(*torch.randint(0, 128, (2, 2, 16))).backward()
    before = {n: p.grad.clone() for n, p in model.named_parameters()}
    MuonClip.for_model(model, lr=0.1).step()
    assert all(torch.equal(before[n], p.grad) for n, p in model.named_parameters())


def test_a_non_finite_gradient_is_refused_before_anything_changes():
    model = K2Model(TINY).train()
    model.loss(*torch.randint(0, 128, (2, 2, 16))).backward()
    model.layers[1].self_attn.o_proj.weight.grad[0, 0] = float("nan")
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    with pytest.raises(FloatingPointError, match=r"layers\.1\.self_attn\.o_proj\.weight"):
        MuonClip.for_model(model, lr=0.1).step()
    assert all(torch.equal(before[n], p) for n, p in model.named_parameters())


def test_state_survives_a_save_with_weights_only():
    def start():
        torch.manual_seed(0)
        model = K2Model(TINY).train()
        return model, MuonClip.for_model(model, lr=0.05, tau=0.05)

    def steps(model, optimizer, count, seed):
        torch.manual_seed(seed)
        for _ in range(count):
            model.loss(*torch.randint(0, 128, (2, 2, 16))).backward()
            optimizer.step()
            optimizer.zero_grad()

    whole, optimizer = start()
    steps(whole, optimizer, 2, 1)
    buffer = io.BytesIO()
    torch.save({"model": whole.state_dict(), "optimizer": optimizer.state_dict()}, buffer)
    steps(whole, optimizer, 2, 2)
    buffer.seek(0)
    saved = torch.load(buffer, weights_only=True)
    resumed, other = start()
    resumed.load_state_dict(saved["model"])
    other.load_state_dict(saved["optimizer"])
    steps(resumed, other, 2, 2)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    assert other.qk_clip.ever_clipped.keys() == optimizer.qk_clip.ever_clipped.keys()
    another = MuonClip.for_model(resumed, lr=0.05, tau=7.0)
    another.load_state_dict(saved["optimizer"])
    assert another.qk_clip.tau == 7.0 and another.qk_clip.heads_ever_clipped > 0


def logits(model, tokens):
    """[layer][H, B·T·T] raw scaled logits of the first layer, and its values."""
    attention = model.layers[0].self_attn
    from k2lib.model.rope import rotation

    x = model.layers[0].input_layernorm(model.embed_tokens(tokens))
    cos, sin = rotation(model.config, model.frequencies, torch.arange(tokens.shape[1]))
    nope, rotary = attention.queries(x, cos, sin)
    latent, shared = attention.latents(x, cos, sin)
    rebuilt = attention.kv_b_proj(latent).unflatten(-1, (model.config.num_attention_heads, -1))
    keys, values = rebuilt.split([model.config.qk_nope_head_dim, model.config.v_head_dim], -1)
    scores = torch.einsum("bthn,bshn->hbts", nope, keys) + torch.einsum("bthr,bsr->hbts", rotary, shared)
    return scores * model.config.softmax_scale, values


def test_a_clipped_heads_logits_shrink_by_exactly_gamma_and_nothing_else_moves():
    torch.manual_seed(0)
    model = K2Model(TINY).train()
    tokens = torch.randint(0, 128, (2, 24))
    with torch.no_grad():
        before, values = logits(model, tokens)
    model(tokens)
    attention = model.layers[0].self_attn
    attention.max_logits = torch.tensor([8.0, 1.0, 2.0, -3.0])
    report = QKClip(tau=2.0).step(model)["layers.0.self_attn"]
    with torch.no_grad():
        after, same = logits(model, tokens)
    gamma = torch.tensor([0.25, 1.0, 1.0, 1.0])
    torch.testing.assert_close(report.gamma, gamma)
    torch.testing.assert_close(after, before * gamma[:, None, None, None], atol=1e-5, rtol=1e-4)
    assert torch.equal(after[1:], before[1:])
    assert torch.equal(values, same)
    assert attention.max_logits is None
    assert report.ever_clipped.tolist() == [True, False, False, False]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_non_finite_maximum_is_refused_before_any_weight_changes(bad):
    model = K2Model(TINY)
    weight = model.layers[0].self_attn.q_b_proj.weight.detach().clone()
    model.layers[0].self_attn.max_logits = torch.tensor([500.0, 1, 1, 1])
    model.layers[2].self_attn.max_logits = torch.tensor([1.0, bad, 1, 1])
    with pytest.raises(FloatingPointError, match=r"layers\.2\.self_attn"):
        QKClip(tau=100.0).step(model)
    assert torch.equal(weight, model.layers[0].self_attn.q_b_proj.weight)


def test_without_a_forward_pass_or_without_tau_nothing_is_clipped():
    model = K2Model(TINY)
    assert QKClip(tau=1.0).step(model) == {}
    assert MuonClip.for_model(model, lr=0.1, tau=None).clip_report == {}
    with pytest.raises(ValueError, match="tau is 0"):
        QKClip(tau=0)
    with pytest.raises(ValueError, match="qk_parts"):
        QKClip().step(nn.Linear(2, 2))


def test_the_schedule_warms_up_holds_and_falls_to_a_tenth():
    rates = [wsd(s, lr=1.0, warmup=10, total=155) for s in range(155)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[60] == 1.0
    assert rates[-1] == pytest.approx(0.1)
    assert all(a >= b for a, b in itertools.pairwise(rates[100:]))
    with pytest.raises(ValueError, match="warmup is 20"):
        wsd(0, lr=1.0, warmup=20, total=10)


def test_without_the_idle_rule_stale_momentum_would_move_an_expert_for_hundreds_of_steps():
    """What the rule prevents, in torch's own Muon: a matrix that never again sees a gradient goes on moving."""
    p = nn.Parameter(torch.zeros(32, 32))
    optimizer = torch.optim.Muon([p], lr=1.0, weight_decay=0.0)
    p.grad = torch.randn(32, 32, generator=torch.Generator().manual_seed(0))
    sizes = []
    for _ in range(100):
        before = p.detach().clone()
        optimizer.step()
        sizes.append((p - before).norm().item())
        p.grad = torch.zeros(32, 32)
    assert sizes[99] > 0.9 * sizes[0]


def test_a_large_model_is_orthogonalised_in_bounded_portions(monkeypatch):
    def run():
        torch.manual_seed(0)
        params = [nn.Parameter(torch.zeros(12, 8)) for _ in range(5)]
        for p in params:
            p.grad = torch.randn(12, 8)
        MuonClip(params, lr=1.0, ns_dtype=torch.float32).step()
        return torch.stack(list(params)).detach()

    together, sizes = run(), []
    counted = lambda g, *args: sizes.append(len(g)) or newton_schulz(g, *args)  # noqa: E731
    monkeypatch.setattr("k2lib.optim.muonclip.newton_schulz", counted)
    monkeypatch.setattr("k2lib.optim.muonclip.BATCH", 200)
    torch.testing.assert_close(run(), together, atol=1e-5, rtol=1e-5)
    assert sizes == [2, 2, 1]


@pytest.mark.parametrize(
    "group",
    [
        {"algorithm": "adam"},
        {"params": [nn.Parameter(torch.ones(3))]},
        {"blocks": 2},
        {"params": [nn.Parameter(torch.ones(2, 2, 3, 3))]},
    ],
)
def test_a_group_that_cannot_be_optimised_is_refused_at_the_start(group):
    with pytest.raises(ValueError, match="algorithm"):
        MuonClip([{"params": [nn.Parameter(torch.ones(3, 4))]} | group], lr=0.1)


def test_closures_schedulers_and_absent_gradients_behave_as_in_torch():
    used, unused = nn.Parameter(torch.ones(4, 4)), nn.Parameter(torch.ones(4, 4))
    optimizer = MuonClip([used, unused], lr=1.0, weight_decay=0.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)

    def closure():
        optimizer.zero_grad()
        loss = (used * torch.arange(16.0).view(4, 4)).sum()
        loss.backward()
        return loss

    moves = []
    for _ in range(2):
        before = used.detach().clone()
        assert optimizer.step(closure).item() == pytest.approx((before * torch.arange(16.0).view(4, 4)).sum().item())
        scheduler.step()
        moves.append((used - before).norm().item())
    assert moves[1] == pytest.approx(moves[0] / 2, rel=0.02)
    assert torch.equal(unused, torch.ones(4, 4)) and not optimizer.state[unused]


def test_adamw_groups_are_torchs_adamw():
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.ones(7)) for _ in range(2))
    a = MuonClip([{"params": [ours], "algorithm": "adamw"}], lr=0.1)
    b = torch.optim.AdamW([theirs], lr=0.1, betas=(0.9, 0.95), weight_decay=0.1)
    for _ in range(5):
        ours.grad = torch.randn(7)
        theirs.grad = ours.grad.clone()
        a.step()
        b.step()
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


def test_an_overflowing_norm_of_finite_gradients_is_no_reason_to_refuse():
    p = nn.Parameter(torch.zeros(8, 8))
    p.grad = torch.full((8, 8), 1e30)
    MuonClip([p], lr=1.0).step()
    assert p.isfinite().all() and p.abs().max() > 0

"""The architecture against transformers, its fast paths against plain ones, and generation against the full forward pass."""

import copy

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from k2lib import K2Config, K2Model
from k2lib.config import gate_scale
from k2lib.model import accounting, parity
from k2lib.model.causal import CausalAttention
from k2lib.model.causal import reference as plain_attention
from k2lib.model.generate import LatentCache, extend, sample
from k2lib.model.moe import Experts, Router, max_violation, router_loads, update_router_bias

CASES = parity.cases()
TINY = CASES["K2"]


@pytest.mark.parametrize("name", CASES)
def test_logits_equal_those_of_transformers(name):
    assert parity.largest_difference(CASES[name], seed=3) < 1e-4


def test_loss_and_every_gradient_equal_those_of_transformers():
    torch.manual_seed(0)
    model = K2Model(TINY)
    other = parity.reference(model)
    tokens = torch.randint(0, TINY.vocab_size, (2, 33))
    loss = model.loss(tokens[:, :-1], tokens[:, 1:])
    theirs = torch.nn.functional.cross_entropy(other(tokens[:, :-1]).logits.flatten(0, 1), tokens[:, 1:].flatten())
    assert loss.item() == pytest.approx(theirs.item(), abs=1e-5)
    loss.backward()
    theirs.backward()
    own = {f"model.{n}": p for n, p in model.named_parameters()} | {"lm_head.weight": model.lm_head.weight}
    compared = 0
    for name, parameter in other.named_parameters():
        if name in own:
            torch.testing.assert_close(own[name].grad, parameter.grad, atol=1e-5, rtol=1e-3)
            compared += 1
    assert compared > 30


def test_greedy_generation_equals_that_of_transformers_token_for_token():
    torch.manual_seed(1)
    model = K2Model(TINY).eval()
    prompt = torch.randint(0, TINY.vocab_size, (1, 9))
    theirs = parity.reference(model).generate(prompt, max_new_tokens=12, do_sample=False, pad_token_id=0, eos_token_id=None)
    assert model.generate(prompt, 12).tolist() == theirs.tolist()


def test_chunked_attention_equals_the_plain_one_forward_backward_and_maximum():
    torch.manual_seed(0)
    q, k, v = (torch.randn(3, 50, n, dtype=torch.float64, requires_grad=True) for n in (8, 8, 6))
    ours, largest = CausalAttention.apply(q, k, v, 0.3, 16)
    plain, expected = plain_attention(q, k, v, 0.3)
    torch.testing.assert_close(ours, plain, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(largest, expected.float())
    weight = torch.randn_like(plain)
    for a, b in zip(torch.autograd.grad((ours * weight).sum(), (q, k, v)), torch.autograd.grad((plain * weight).sum(), (q, k, v)),
                    strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_grouped_experts_equal_one_expert_after_another(dtype):
    torch.manual_seed(0)
    config = TINY.replace(hidden_size=64, moe_intermediate_size=32)
    experts, router = Experts(config), Router(config)
    for p in (*experts.parameters(), *router.parameters()):
        torch.nn.init.normal_(p, std=0.2)
    x = torch.randn(600, 64, requires_grad=True)
    gates, chosen = router(x)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        ours = experts(x, gates, chosen).float()
    plain = experts.reference(x, gates, chosen)
    tolerance = 1e-4 if dtype == torch.float32 else 0.03
    assert (ours - plain).norm() / plain.norm() < tolerance
    for p in (experts.gate_up_proj, experts.down_proj, router.weight, x):
        a, b = (torch.autograd.grad(y.square().sum(), p, retain_graph=True)[0] for y in (ours, plain))
        assert (a - b).norm() / b.norm() < tolerance


def test_maximum_logits_are_those_of_the_scores_and_only_training_forwards_count():
    torch.manual_seed(0)
    model = K2Model(TINY).train()
    tokens = torch.randint(0, TINY.vocab_size, (2, 40))
    with torch.no_grad():
        model(tokens)
    assert model.layers[0].self_attn.max_logits is None
    model(tokens)
    recorded = model.layers[0].self_attn.max_logits
    attention, x = model.layers[0].self_attn, model.layers[0].input_layernorm(model.embed_tokens(tokens))
    from k2lib.model.rope import rotation

    cos, sin = rotation(TINY, model.frequencies, torch.arange(40))
    nope, rotary = attention.queries(x, cos, sin)
    latent, shared = attention.latents(x, cos, sin)
    keys = attention.kv_b_proj(latent).unflatten(-1, (TINY.num_attention_heads, -1))[..., : TINY.qk_nope_head_dim]
    scores = torch.einsum("bthn,bshn->bhts", nope, keys) + torch.einsum("bthr,bsr->bhts", rotary, shared)
    masked = (scores * TINY.softmax_scale).masked_fill(torch.ones(40, 40).triu(1).bool(), float("-inf"))
    torch.testing.assert_close(recorded, masked.amax((0, 2, 3)), atol=1e-4, rtol=1e-4)
    model.eval()(tokens)
    assert torch.equal(recorded, model.layers[0].self_attn.max_logits)


def test_the_bias_selects_but_never_weighs():
    router = Router(TINY)
    torch.nn.init.normal_(router.weight)
    x = torch.randn(50, TINY.hidden_size)
    router.e_score_correction_bias[3] = 10.0
    gates, chosen = router(x)
    assert (chosen == 3).any(1).all()
    scores = torch.sigmoid(x @ router.weight.T).gather(1, chosen)
    expected = scores / scores.sum(1, keepdim=True) * TINY.routed_scaling_factor
    torch.testing.assert_close(gates, expected)


def test_the_bias_update_raises_idle_experts_and_counts_afresh():
    model = K2Model(TINY).train()
    model(torch.randint(0, TINY.vocab_size, (2, 30)))
    load = router_loads(model)[0].clone()
    assert load.sum() == 2 * 30 * TINY.num_experts_per_tok
    router = next(m for m in model.modules() if isinstance(m, Router))
    update_router_bias(model, 0.01)
    direction = (load.mean() - load).sign()
    torch.testing.assert_close(router.e_score_correction_bias, 0.01 * (direction - direction.mean()))
    assert router_loads(model)[0].sum() == 0
    assert max_violation(torch.tensor([2.0, 1.0, 0.0])) == 1.0


def test_cached_decoding_gives_the_logits_of_the_full_forward_pass():
    torch.manual_seed(0)
    model = K2Model(CASES["K2's YaRN"]).eval()
    tokens = torch.randint(0, 128, (2, 30))
    cache = LatentCache(model, 2, 30)
    with torch.no_grad():
        parts = [extend(model, tokens[:, a:b], cache, b) for a, b in ((0, 13), (13, 14), (14, 30))]
        torch.testing.assert_close(model.lm_head(torch.cat(parts, 1)), model(tokens), atol=1e-4, rtol=1e-4)
    assert cache.bytes_per_token == 4 * 3 * (16 + 8)


def test_sampling_ragged_prompts_equals_sampling_each_alone_and_logprobs_are_the_models():
    torch.manual_seed(0)
    model = K2Model(TINY).eval()
    prompts = [[5], list(range(20)), [7, 8, 9], [7, 8, 9]]
    together = sample(model, prompts, max_new_tokens=6, temperature=1.0, top_p=0.9, seed=4)
    assert together[0].tokens == sample(model, prompts[:1], max_new_tokens=6, temperature=1.0, top_p=0.9, seed=4)[0].tokens
    assert together[2].tokens != together[3].tokens  # same prompt, own randomness
    whole = torch.tensor([prompts[1] + together[1].tokens])
    with torch.no_grad():
        expected = model.token_logprobs(whole)[0, -6:]
    torch.testing.assert_close(torch.tensor(together[1].logprobs), expected, atol=1e-4, rtol=1e-4)


def test_sampling_follows_the_distribution():
    torch.manual_seed(0)
    model = K2Model(TINY).eval()
    drawn = [c.tokens[0] for c in sample(model, [[3, 4]] * 4000, max_new_tokens=1, temperature=1.0, seed=1)]
    with torch.no_grad():
        p = model(torch.tensor([[3, 4]]))[0, -1].softmax(-1)
    top = int(p.argmax())
    assert abs(drawn.count(top) / 4000 - p[top].item()) < 4 * (p[top].item() / 4000) ** 0.5


def test_generation_stops_at_the_stop_token_and_keeps_it():
    model = K2Model(TINY).eval()
    first = sample(model, [[1, 2]], max_new_tokens=8)[0].tokens
    stopped = sample(model, [[1, 2]], max_new_tokens=8, stop_tokens=(first[2],))[0]
    assert stopped.tokens == first[: first.index(first[2]) + 1]
    assert stopped.finish == "stop"
    with pytest.raises(ValueError, match="at least one token"):
        sample(model, [[]], max_new_tokens=1)


def test_wanted_logprobs_are_the_same_and_the_others_zero():
    model = K2Model(TINY)
    tokens = torch.randint(0, 128, (2, 12))
    wanted = torch.rand(2, 11) > 0.5
    part, whole = model.token_logprobs(tokens, wanted), model.token_logprobs(tokens)
    torch.testing.assert_close(part, whole * wanted)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(heads=st.sampled_from([1, 2, 3]), rope=st.sampled_from([2, 4, 8]), value=st.integers(3, 20), query=st.sampled_from([None, 8, 20]),
       shared=st.integers(0, 2), length=st.integers(2, 90))
def test_any_config_agrees_with_transformers(heads, rope, value, query, shared, length):
    config = TINY.replace(num_attention_heads=heads, qk_rope_head_dim=rope, v_head_dim=value, q_lora_rank=query, n_shared_experts=shared)
    assert parity.largest_difference(config, seed=length, length=length) < 1e-4


def test_what_is_saved_loads_here_and_in_transformers(tmp_path):
    import json

    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = K2Model(TINY).eval()
    model.save_pretrained(tmp_path / "m", max_shard_bytes=100_000)
    assert (tmp_path / "m" / "model.safetensors.index.json").exists()
    tokens = torch.randint(0, 128, (1, 20))
    assert torch.equal(K2Model.from_pretrained(tmp_path / "m")(tokens), model(tokens))
    config = tmp_path / "m" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"model_type": "deepseek_v3"}))
    other = AutoModelForCausalLM.from_pretrained(tmp_path / "m")
    torch.testing.assert_close(other(tokens).logits, model(tokens), atol=1e-4, rtol=1e-4)
    other.save_pretrained(tmp_path / "theirs")
    torch.testing.assert_close(K2Model.from_pretrained(tmp_path / "theirs")(tokens), model(tokens))


def test_block_fp8_weights_are_dequantised_on_the_fly(tmp_path):
    from safetensors.torch import load_file, save_file

    model = K2Model(TINY).eval()
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    name = "model.layers.0.mlp.gate_proj.weight"
    scale = torch.tensor([[0.5]])
    stored = (tensors[name] / 0.5).to(torch.float8_e4m3fn)
    save_file(tensors | {name: stored, f"{name}_scale_inv": scale}, tmp_path / "model.safetensors")
    loaded = K2Model.from_pretrained(tmp_path).layers[0].mlp.gate_proj.weight
    torch.testing.assert_close(loaded, stored.float() * 0.5)


def test_damaged_checkpoints_are_refused_with_names(tmp_path):
    from safetensors.torch import load_file, save_file

    K2Model(TINY).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors, whole = load_file(file), file.read_bytes()
    save_file({n: t for n, t in tensors.items() if n != "model.norm.weight"} | {"extra.weight": torch.ones(2)}, file)
    with pytest.raises(ValueError, match=r"1 missing \(model\.norm\.weight\); 1 not in the model \(extra\.weight\)"):
        K2Model.from_pretrained(tmp_path)
    save_file(tensors | {"model.norm.weight": torch.ones(3)}, file)
    with pytest.raises(ValueError, match=r"1 misshapen \(model\.norm\.weight: \[3\] on disk, \[64\]"):
        K2Model.from_pretrained(tmp_path)
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="is damaged"):
        K2Model.from_pretrained(tmp_path)
    file.unlink()
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match="pickle"):
        K2Model.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../../etc/passwd"}}')
    with pytest.raises(ValueError, match="points outside"):
        K2Model.from_pretrained(tmp_path)


@pytest.mark.parametrize("change, words", [
    ({"qk_rope_head_dim": 7}, "even width"), ({"num_experts_per_tok": 9}, "more experts than there are"),
    ({"n_group": 3}, "choose n_group from 1, 2, 4, 8"), ({"hidden_size": 0}, "hidden_size is 0"), ({"nonsense": 1}, "no field nonsense"),
    ({"first_k_dense_replace": 9}, "first_k_dense_replace is 9"), ({"model_type": "llama"}, "kimi_k2 and deepseek_v3"),
])
def test_a_config_that_cannot_be_built_says_why(change, words):
    with pytest.raises(ValueError, match=words):
        TINY.replace(**change)


def test_released_configs_are_read_and_unknown_fields_are_errors():
    released = K2Config.preset("kimi-k2")
    assert K2Config.from_dict(released.to_dict()) == released
    with pytest.raises(ValueError, match="sliding_window"):
        K2Config.from_dict(released.to_dict() | {"sliding_window": 5})
    with pytest.raises(ValueError, match="softmax"):
        K2Config.from_dict(released.to_dict() | {"scoring_func": "softmax"})
    with pytest.raises(ValueError, match="unknown preset 'tiny'"):
        K2Config.preset("tiny")


def test_parameters_are_counted_to_the_last_one():
    k2 = accounting.count_parameters(K2Config.preset("kimi-k2"))
    assert (k2.total, k2.activated, k2.activated_with_embedding) == (1_026_408_209_408, 31_687_072_768, 32_861_477_888)
    assert accounting.count_parameters(K2Config.preset("deepseek-v3")).total == 671_026_404_352
    for name in ("nano", "moonlight", "kimi-k2"):
        with torch.device("meta"):
            model = K2Model(K2Config.preset(name))
        assert sum(p.numel() for p in model.parameters()) == accounting.count_parameters(K2Config.preset(name)).total


def test_the_gate_scale_is_moonlights_recipe():
    assert gate_scale(64, 6) == pytest.approx(2.446, abs=0.003)
    assert gate_scale(384, 8) == pytest.approx(2.827, abs=0.003)


def test_training_is_deterministic():
    def run():
        torch.manual_seed(0)
        model = K2Model(TINY).train()
        tokens = torch.randint(0, 128, (4, 33))
        model.loss(tokens[:, :-1], tokens[:, 1:]).backward()
        return copy.deepcopy([p.grad for p in model.parameters()])

    assert all(torch.equal(a, b) for a, b in zip(run(), run(), strict=True))

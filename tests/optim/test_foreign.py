"""QK-Clip on models of others: each head's largest logit, exactly, and after the clip exactly τ, found by structure alone."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import (
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from k2lib import K2Model
from k2lib.model import parity
from k2lib.optim import MuonClip, QKClip
from k2lib.optim.foreign import largest_logits

SHAPE = {"vocab_size": 64, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
GROUPED = SHAPE | {"num_key_value_heads": 2}
QUIET = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
LATENT = {"q_lora_rank": 24, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 16, "v_head_dim": 16}
EXPERTS = {"moe_intermediate_size": 32, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1}
MODELS = {
    "Llama, shared keys": lambda: LlamaForCausalLM(LlamaConfig(**GROUPED)),
    "Llama, one key": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE | {"num_key_value_heads": 1})),
    "Qwen2, biases": lambda: Qwen2ForCausalLM(Qwen2Config(**GROUPED)),
    "Mistral, window": lambda: MistralForCausalLM(MistralConfig(**GROUPED, sliding_window=4)),
    "Phi-3, fused": lambda: Phi3ForCausalLM(Phi3Config(**GROUPED, pad_token_id=0)),
    "GPT-2, transposed": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=64, n_layer=2, n_head=4, **QUIET)),
    "NeoX, interleaved": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**SHAPE)),
    "DeepSeek-V3, latent": lambda: DeepseekV3ForCausalLM(
        DeepseekV3Config(**SHAPE, num_key_value_heads=4, **LATENT, **EXPERTS, first_k_dense_replace=1)
    ),
    "DeepSeek-V3, whole query": lambda: DeepseekV3ForCausalLM(
        DeepseekV3Config(
            **SHAPE, num_key_value_heads=4, **LATENT | {"q_lora_rank": None}, **EXPERTS, first_k_dense_replace=1
        )
    ),
}
TOKENS = torch.randint(0, 64, (2, 12), generator=torch.Generator().manual_seed(0))


def loud(model: nn.Module) -> nn.Module:
    """Attention weights large enough that heads differ."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "attn" in name or "attention" in name:
                scale = 8.0 if parameter.ndim == 2 else 1.0
                parameter.copy_(parameter * scale + 0.01 * torch.randn(parameter.shape, generator=generator))
    return model.train()


def by_hand(model: nn.Module, tokens: torch.Tensor) -> list[torch.Tensor]:
    """[layer] the largest logit of every head, from T×T scores."""
    found, attend = [], F.scaled_dot_product_attention

    def seen(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
        k_ = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
        scores = q @ k_.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
        hidden = torch.ones(scores.shape[-2:]).triu(1).bool() if is_causal else ~attn_mask
        found.append(scores.masked_fill(hidden, -math.inf).amax((0, 2, 3)))
        return attend(q, k, v, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)

    F.scaled_dot_product_attention = seen
    try:
        model(tokens)
    finally:
        F.scaled_dot_product_attention = attend
    return found


@pytest.mark.parametrize("name", MODELS)
def test_maxima_are_exact_and_after_the_clip_each_head_reaches_exactly_tau(name):
    torch.manual_seed(0)
    model = loud(MODELS[name]())
    expected = by_hand(copy.deepcopy(model), TOKENS)
    clip = QKClip.attach(model, tau=0.5)
    assert model.training and len(clip.attached) == len(expected) == 2
    model(TOKENS)
    first = next(iter(clip.attached))
    for watched, largest in zip(clip.attached.values(), expected, strict=True):
        torch.testing.assert_close(watched.max_logits, largest)
    others = {n: p.clone() for n, p in model.named_parameters() if not n.startswith(tuple(clip.attached))}
    report = clip.step()
    assert all(torch.equal(p, others[n]) for n, p in model.named_parameters() if n in others)
    model(TOKENS)  # the first attention reads what it read before
    torch.testing.assert_close(clip.attached[first].max_logits, report[first].max_logits.clamp_max(0.5))


@pytest.mark.parametrize("name", ["Llama, shared keys", "Phi-3, fused", "DeepSeek-V3, latent"])
def test_values_are_left_alone(name):
    torch.manual_seed(0)
    model = loud(MODELS[name]())
    clip, seen, attend = QKClip.attach(model, tau=0.5), [], F.scaled_dot_product_attention

    def noted(q, k, v, *args, **kwargs):
        seen.append(v)
        return attend(q, k, v, *args, **kwargs)

    F.scaled_dot_product_attention = noted
    try:
        model(TOKENS)
        clip.step()
        model(TOKENS)
    finally:
        F.scaled_dot_product_attention = attend
    torch.testing.assert_close(seen[2], seen[0])


def test_normalised_queries_are_refused_with_the_reason():
    with pytest.raises(ValueError, match=r"layers\.0\.self_attn: its queries are normalised after their projection"):
        QKClip.attach(Qwen3ForCausalLM(Qwen3Config(**GROUPED, head_dim=16)))


def test_a_model_that_attends_otherwise_is_told_how_to():
    model = LlamaForCausalLM(LlamaConfig(**GROUPED, attn_implementation="eager"))
    with pytest.raises(ValueError, match="load it with attn_implementation='sdpa'"):
        QKClip.attach(model)
    with pytest.raises(ValueError, match="no attention was found"):
        QKClip.attach(nn.Linear(3, 3))
    with pytest.raises(ValueError, match=r"QKClip\.attach"):
        QKClip(1.0).step()


class Bare(nn.Module):
    """An attention that nobody knows: fused, by its own names, three inputs."""

    def __init__(self, strange=""):
        super().__init__()
        self.everything, self.strange = nn.Linear(32, 96), strange
        self.offset = nn.Parameter(torch.ones(4, 1, 8))

    def forward(self, x, mask, *, scale):
        q, k, v = self.everything(x).view(*x.shape[:2], 4, 3, 8).permute(3, 0, 2, 1, 4)
        if self.strange == "mixed":
            q = q + q.roll(1, dims=1)
        if self.strange == "bent":
            q = q.tanh()
        if self.strange == "moved":
            k = k + self.offset
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)


def test_an_unknown_module_is_found_by_an_example_and_a_strange_one_refused():
    torch.manual_seed(0)
    model, x = Bare(), torch.randn(2, 6, 32)
    mask = torch.randn(6, 6)
    clip = QKClip.attach(model, tau=0.01, example={"x": x, "mask": mask, "scale": 0.3})
    model(x, mask, scale=0.3)
    q, k, _ = model.everything(x).view(2, 6, 4, 3, 8).permute(3, 0, 2, 1, 4)
    torch.testing.assert_close(clip.attached[""].max_logits, (q @ k.mT * 0.3 + mask).amax((0, 2, 3)))
    assert (clip.step()[""].gamma < 1).all()
    grow = "do not grow as the weights that they come from"
    for strange, words in {
        "mixed": r"the rows of its heads in .* follow no regular pattern",
        "bent": f"its queries {grow}",
        "moved": f"its keys {grow}",
    }.items():
        with pytest.raises(ValueError, match=f"the model: {words}"):
            QKClip.attach(Bare(strange), example={"x": x, "mask": mask, "scale": 0.3})


def test_a_model_that_needs_more_than_tokens_is_told_to_give_an_example():
    class Two(LlamaForCausalLM):
        def forward(self, input_ids, second):
            return super().forward(input_ids + second)

    model = Two(LlamaConfig(**GROUPED))
    with pytest.raises(ValueError, match=r"cannot be called with token ids alone .*; give an example"):
        QKClip.attach(model)
    assert len(QKClip.attach(model, example=(TOKENS, TOKENS * 0)).attached) == 2


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("kind", ["self", "cross", "widths"])
def test_pytorchs_own_attention(need_weights, kind):
    torch.manual_seed(0)
    widths = {"kdim": 24, "vdim": 24} if kind == "widths" else {}
    module = nn.MultiheadAttention(32, 4, batch_first=True, **widths)
    x = torch.randn(2, 6, 32)
    y = {"self": x, "cross": torch.randn(2, 5, 32), "widths": torch.randn(2, 5, 24)}[kind]
    padding = torch.zeros(2, y.shape[1], dtype=torch.bool)
    padding[0, -2:] = True
    mask = torch.ones(6, y.shape[1], dtype=torch.bool).triu(1)
    clip = QKClip.attach(module, tau=1e-3)
    call = {"key_padding_mask": padding, "attn_mask": mask, "need_weights": need_weights}
    module(x, y, y, **call)
    w_q = module.in_proj_weight[:32] if module.in_proj_weight is not None else module.q_proj_weight
    w_k = module.in_proj_weight[32:64] if module.in_proj_weight is not None else module.k_proj_weight
    q, k = ((a @ w.t()).unflatten(-1, (4, 8)).transpose(1, 2) for a, w in ((x, w_q), (y, w_k)))
    hidden = padding[:, None, None, :] | mask
    torch.testing.assert_close(
        clip.attached[""].max_logits, (q @ k.mT * 8**-0.5).masked_fill(hidden, -math.inf).amax((0, 2, 3))
    )
    clip.step()
    module(x, y, y, **call)
    assert clip.attached[""].max_logits.max() < 1.001e-3


def test_a_transformer_encoder_needs_no_example_and_an_added_key_is_refused():
    torch.manual_seed(0)
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 2)
    clip = QKClip.attach(encoder, tau=1e-3)
    encoder(torch.randn(2, 6, 32)).sum().backward()
    assert set(clip.step()) == {"layers.0.self_attn", "layers.1.self_attn"}
    with pytest.raises(ValueError, match="a bias or a zero is added to its keys"):
        QKClip.attach(nn.MultiheadAttention(32, 4, add_bias_kv=True))


def test_only_training_forwards_count_and_removed_hooks_see_nothing():
    model = loud(MODELS["Llama, shared keys"]())
    clip = QKClip.attach(model)
    model.eval()(TOKENS)
    assert all(watched.max_logits is None for watched in clip.attached.values())
    for watched in clip.attached.values():
        watched.remove()
    model.train()(TOKENS)
    assert all(watched.max_logits is None for watched in clip.attached.values())


def test_checkpointed_forwards_give_the_same_maxima_and_gradients():
    found = []
    for checkpointed in (False, True):
        torch.manual_seed(0)
        model = loud(MODELS["Llama, shared keys"]())
        if checkpointed:
            model.gradient_checkpointing_enable()
        clip = QKClip.attach(model)
        model(TOKENS, labels=TOKENS).loss.backward()
        found.append([*(w.max_logits for w in clip.attached.values()), *(p.grad for p in model.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_an_error_in_a_forward_pass_leaves_no_mode_behind():
    model = loud(MODELS["Llama, shared keys"]())
    clip = QKClip.attach(model)
    with pytest.raises(IndexError, match="out of range"):
        model(torch.full((2, 12), 99))
    with pytest.raises(RuntimeError):
        model.model.layers[0].self_attn(torch.randn(2, 3, 5), position_embeddings=None, attention_mask=None)
    assert all(watched._mode is None for watched in clip.attached.values())


def test_logits_are_found_in_chunks_as_in_one(monkeypatch):
    torch.manual_seed(0)
    q, k = torch.randn(2, 4, 300, 8), torch.randn(2, 2, 300, 8)
    whole = largest_logits(q, k, 0.5, True, None)
    scores = (q @ k.repeat_interleave(2, 1).mT * 0.5).masked_fill(torch.ones(300, 300).triu(1).bool(), -math.inf)
    torch.testing.assert_close(whole, scores.amax((0, 2, 3)))
    monkeypatch.setattr("k2lib.optim.foreign.CHUNK", 7)
    torch.testing.assert_close(largest_logits(q, k, 0.5, True, None), whole)


def test_muonclip_takes_an_attached_clip_and_our_own_model_needs_none():
    torch.manual_seed(0)
    model = loud(MODELS["Llama, shared keys"]())
    optimizer = MuonClip.for_model(model, lr=1e-3, qk_clip=QKClip.attach(model, tau=0.5))
    for _ in range(3):
        model(TOKENS, labels=TOKENS).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert optimizer.qk_clip.heads_ever_clipped == 8 and set(optimizer.clip_report) == set(optimizer.attention)
    own = K2Model(parity.cases()["K2"])
    assert set(QKClip.attach(own).attached) == set(MuonClip.for_model(own, lr=0.1).attention)

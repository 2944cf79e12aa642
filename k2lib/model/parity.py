"""Our model against transformers' DeepSeek-V3, which others wrote: same weights, same tokens, same logits (§2.3).

The released K2 names DeepseekV3ForCausalLM as its architecture, so agreement here is agreement with K2's own code path.
"""

import random
import warnings

import torch

from k2lib.config import K2Config, YaRN, gate_scale
from k2lib.model.transformer import K2Model

_BASE = K2Config(
    vocab_size=128,
    hidden_size=64,
    num_hidden_layers=3,
    num_attention_heads=4,
    q_lora_rank=24,
    kv_lora_rank=16,
    qk_nope_head_dim=16,
    qk_rope_head_dim=8,
    v_head_dim=12,
    intermediate_size=96,
    moe_intermediate_size=32,
    n_routed_experts=8,
    num_experts_per_tok=2,
    max_position_embeddings=512,
    routed_scaling_factor=gate_scale(8, 2),
    initializer_range=0.1,  # wide, so that every part of the model leaves its mark on the logits
)


def cases() -> dict[str, K2Config]:
    """Small configs, each with one thing changed that the architecture allows to change."""
    k2_yarn = YaRN(factor=8.0, original_max_position_embeddings=32, beta_fast=1.0, beta_slow=1.0, mscale_all_dim=1.0)
    return {
        "K2": _BASE,
        "whole query": _BASE.replace(q_lora_rank=None),
        "two shared": _BASE.replace(n_shared_experts=2),
        "groups": _BASE.replace(n_group=4, topk_group=2, num_experts_per_tok=3),
        "all sparse": _BASE.replace(first_k_dense_replace=0),
        "K2's YaRN": _BASE.replace(yarn=k2_yarn, max_position_embeddings=256),
        "V3's YaRN": _BASE.replace(yarn=YaRN(16.0, 32, mscale_all_dim=1.0)),  # 512 positions
    }


def random_config(seed: int) -> K2Config:
    """A small config with every choice drawn at random."""
    draw = random.Random(seed)
    groups, group_size = draw.choice([(1, 8), (1, 12), (2, 4), (4, 3)])
    chosen_groups = draw.randint(1, groups)
    factor = draw.choice([4, 8, 40])
    yarn = YaRN(float(factor), 32, draw.choice([1.0, 32.0]), 1.0, 1.0, draw.choice([0.0, 1.0]))
    return _BASE.replace(
        hidden_size=draw.choice([32, 64, 72]),
        num_hidden_layers=draw.randint(1, 3),
        num_attention_heads=draw.randint(1, 6),
        q_lora_rank=draw.choice([None, 20, 32]),
        kv_lora_rank=draw.choice([8, 20]),
        qk_nope_head_dim=draw.choice([8, 18]),
        qk_rope_head_dim=draw.choice([4, 10]),
        v_head_dim=draw.choice([8, 14, 24]),
        n_routed_experts=groups * group_size,
        num_experts_per_tok=draw.randint(1, chosen_groups * group_size),
        n_group=groups,
        topk_group=chosen_groups,
        n_shared_experts=draw.randint(0, 2),
        first_k_dense_replace=draw.randint(0, 1),
        moe_intermediate_size=draw.choice([16, 40]),
        rms_norm_eps=draw.choice([1e-6, 1e-5]),
        rope_theta=draw.choice([10_000.0, 50_000.0]),
        yarn=draw.choice([None, yarn]),
        max_position_embeddings=32 * factor,
    )


def random_model(config: K2Config, seed: int) -> K2Model:
    """Our model with random weights, norms and selection biases."""
    torch.manual_seed(seed)
    model = K2Model(config).eval()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.endswith("norm.weight"):
                value.uniform_(0.5, 1.5)
            if name.endswith("e_score_correction_bias"):
                value.normal_(std=0.1)
    return model


def reference(model: K2Model):
    """transformers' model with the weights of ours (a copy)."""
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

    fields = model.config.to_dict() | {"model_type": "deepseek_v3"}
    fields.pop("architectures")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a model without shared experts has shared experts of width 0 there
        other = DeepseekV3ForCausalLM(DeepseekV3Config(**fields)).eval()
    weights = {name: value for name, value in other.state_dict().items() if value.numel() == 0}
    for name, value in model.state_dict().items():
        weights[name if name.startswith("lm_head.") else f"model.{name}"] = value
    other.load_state_dict(weights)
    return other


@torch.no_grad()
def largest_difference(config: K2Config, seed: int, length: int = 80) -> float:
    """Largest absolute difference of a logit over two random sequences in fp32."""
    model = random_model(config, seed)
    tokens = torch.randint(0, config.vocab_size, (2, length))
    return float((reference(model)(tokens).logits - model(tokens)).abs().max())

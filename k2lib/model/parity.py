"""Our model against transformers' DeepSeek-V3, an implementation that we did not write: the same weights, the same logits."""

import warnings

import torch

from k2lib.config import K2Config, YaRN
from k2lib.model import K2Model
from k2lib.model.hf import names_on_disk

_SMALL = dict(vocab_size=128, hidden_size=64, num_hidden_layers=3, num_attention_heads=4, kv_lora_rank=16, qk_nope_head_dim=16,
              qk_rope_head_dim=8, v_head_dim=12, intermediate_size=96, moe_intermediate_size=32, n_routed_experts=8,
              num_experts_per_tok=2, max_position_embeddings=256, initializer_range=0.1)


def cases(seed: int) -> dict[str, K2Config]:
    """Small configs that differ in what the architecture can vary."""
    base = K2Config(q_lora_rank=24, routed_scaling_factor=2.0, **_SMALL)
    yarn = YaRN(factor=8.0, original_max_position_embeddings=32, beta_fast=1.0, beta_slow=1.0, mscale_all_dim=1.0)
    return {
        "K2": base, "whole query": base.replace(q_lora_rank=None), "two shared": base.replace(n_shared_experts=2),
        "expert groups": base.replace(n_group=4, topk_group=2, num_experts_per_tok=3), "all sparse": base.replace(first_k_dense_replace=0),
        "YaRN": base.replace(yarn=yarn), "YaRN, wide": base.replace(yarn=YaRN(16.0, 32, mscale_all_dim=1.0), max_position_embeddings=512),
    }


def reference(config: K2Config, model: K2Model):
    """transformers' model with the weights of ours."""
    from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

    fields = config.to_dict() | {"model_type": "deepseek_v3"}
    fields.pop("architectures")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = DeepseekV3ForCausalLM(DeepseekV3Config(**fields)).eval()
    own = other.state_dict()
    ours = {}
    for name, value in model.state_dict().items():
        fused = f"model.{name}"
        ours |= {fused: value} if fused in own else dict(names_on_disk(name, value))
    other.load_state_dict(ours)
    return other


def largest_difference(config: K2Config, seed: int, length: int = 80) -> float:
    """Largest absolute difference of a logit over two random sequences, biases of the router drawn at random too."""
    torch.manual_seed(seed)
    model = K2Model(config).eval()
    for name, buffer in model.named_buffers():
        if name.endswith("e_score_correction_bias"):
            buffer.normal_(std=0.1)
    tokens = torch.randint(0, config.vocab_size, (2, length))
    with torch.no_grad():
        return float((reference(config, model)(tokens).logits - model(tokens)).abs().max())

"""Parameters and FLOPs of a config, in exact integers and without building the model (Table 2, section 2.3).

What surprised: the paper's 1.04T and 32.6B do not follow from the released config. It has 1,026,408,209,408 parameters,
of which a token uses 31.7 billion with the output head, 32.9 with head and input embedding; 1.043T is what 61 sparse
layers would give.
"""

from dataclasses import dataclass

from k2lib.config import K2Config


@dataclass(frozen=True)
class ParameterCount:
    total: int
    activated: int  # used by one token, output head included, input embedding (a look-up) not
    by_component: dict[str, int]
    activated_with_embedding: int


def count_parameters(config: K2Config) -> ParameterCount:
    """Weights of the model as released; the routers' selection biases are buffers and not counted."""
    c = config
    sparse = sum(c.is_moe(layer) for layer in range(c.num_hidden_layers))
    dense = c.num_hidden_layers - sparse
    expert = 3 * c.hidden_size * c.moe_intermediate_size
    parts = {
        "embedding": c.vocab_size * c.hidden_size,
        "attention": c.num_hidden_layers * attention_parameters(c),
        "norms": (2 * c.num_hidden_layers + 1) * c.hidden_size,
        "dense feed-forward": dense * 3 * c.hidden_size * c.intermediate_size,
        "routers": sparse * c.n_routed_experts * c.hidden_size,
        "shared experts": sparse * c.n_shared_experts * expert,
        "routed experts": sparse * c.n_routed_experts * expert,
        "head": c.vocab_size * c.hidden_size,
    }
    total = sum(parts.values())
    idle = sparse * (c.n_routed_experts - c.num_experts_per_tok) * expert
    return ParameterCount(total, total - idle - parts["embedding"], parts, total - idle)


def attention_parameters(c: K2Config) -> int:
    """Weights of one latent attention, its two inner norms included."""
    heads = c.num_attention_heads
    query = (
        c.hidden_size * heads * c.qk_head_dim
        if c.q_lora_rank is None
        else c.hidden_size * c.q_lora_rank + c.q_lora_rank + c.q_lora_rank * heads * c.qk_head_dim
    )
    latent = c.hidden_size * (c.kv_lora_rank + c.qk_rope_head_dim) + c.kv_lora_rank
    rebuilt = c.kv_lora_rank * heads * (c.qk_nope_head_dim + c.v_head_dim)
    return query + latent + rebuilt + heads * c.v_head_dim * c.hidden_size


def inference_flops(config: K2Config, context: int, absorbed: bool = False) -> int:
    """FLOPs (2 a multiply-add) to produce one new token that attends to `context` tokens.

    Weights: 2 FLOPs for each activated one. Attention: scores and sums over the context, either with keys and values
    as separate heads (the default) or in the latent space (`absorbed`, what a decoder with a latent cache executes:
    more FLOPs, far fewer bytes).
    """
    c = config
    per_key = (2 * c.kv_lora_rank + c.qk_rope_head_dim) if absorbed else (c.qk_head_dim + c.v_head_dim)
    return 2 * count_parameters(c).activated + attention_flops(c, context, per_key)


def attention_flops(config: K2Config, context: int, per_key: int) -> int:
    """FLOPs of one token's scores and sums over `context` keys, `per_key` multiply-adds for each key and head."""
    return 2 * config.num_hidden_layers * config.num_attention_heads * context * per_key


def training_flops(config: K2Config, sequence: int) -> int:
    """FLOPs per token, forward and backward, at this sequence length: 6 a weight, attention to half the tokens."""
    per_key = config.qk_head_dim + config.v_head_dim
    return 6 * count_parameters(config).activated + 3 * attention_flops(config, sequence // 2, per_key)


def cache_elements_per_token(config: K2Config, groups: int = 8) -> dict[str, int]:
    """Cached numbers per token over all layers, of three ways to attend with heads of this width.

    latent: one latent and one rotary key; grouped-query: keys and values of `groups` heads; multi-head: of every head.
    """
    c = config
    a_head = c.qk_head_dim + c.v_head_dim
    return {
        "latent": c.num_hidden_layers * (c.kv_lora_rank + c.qk_rope_head_dim),
        "grouped-query": c.num_hidden_layers * groups * a_head,
        "multi-head": c.num_hidden_layers * c.num_attention_heads * a_head,
    }

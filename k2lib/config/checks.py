"""What cannot be built, and why: each refusal is a sentence that names the value and the remedy."""

import dataclasses

MODEL_TYPES = ("kimi_k2", "deepseek_v3")
MAY_BE_ZERO = ("n_shared_experts", "first_k_dense_replace")


def require(condition: bool, message: str) -> None:
    """ValueError with the message unless the condition holds."""
    if not condition:
        raise ValueError(message)


def check(c) -> None:
    """ValueError unless a model of the K2Config `c` can be built."""
    for field in dataclasses.fields(c):
        value, least = getattr(c, field.name), 0 if field.name in MAY_BE_ZERO else 1
        whole, positive = type(value) is int and value >= least, isinstance(value, int | float) and value > 0
        require(field.type is not int or whole, f"{field.name} is {value!r}; give an integer of at least {least}")
        require(field.type is not float or positive, f"{field.name} is {value!r}; give a number above 0")
    _check_widths(c)
    _check_experts(c)
    known = f"this class describes {' and '.join(MODEL_TYPES)}"
    require(c.model_type in MODEL_TYPES, f"model_type is {c.model_type!r}; {known}")


def _check_widths(c) -> None:
    rank, rotary = c.q_lora_rank, c.qk_rope_head_dim
    say = f"q_lora_rank is {rank}; give a rank of at least 1, or null for an uncompressed query"
    require(rank is None or rank > 0, say)
    say = f"qk_rope_head_dim is {rotary}; rotary positions turn pairs of numbers, so give an even width"
    require(rotary % 2 == 0, say)
    for name in ("hidden_size", "moe_intermediate_size"):
        say = "the experts' grouped products need a multiple of 8 (rows of whole 16 bytes)"
        require(getattr(c, name) % 8 == 0, f"{name} is {getattr(c, name)}; {say}")


def _check_experts(c) -> None:
    experts, active, groups = c.n_routed_experts, c.num_experts_per_tok, c.n_group
    say = "a token cannot use more experts than there are"
    require(active <= experts, f"num_experts_per_tok is {active} but n_routed_experts is {experts}; {say}")
    divisors = ", ".join(str(d) for d in range(1, experts + 1) if experts % d == 0)
    say = f"n_routed_experts {experts} is not divisible by n_group {groups}; choose n_group from {divisors}"
    require(experts % groups == 0, say)
    say = "a group is judged by its best two, so choose a smaller n_group"
    require(groups == 1 or experts // groups >= 2, f"n_group {groups} leaves one expert a group; {say}")
    require(c.topk_group <= groups, f"topk_group {c.topk_group} exceeds n_group {groups}")
    reachable = experts // groups * c.topk_group
    say = f"the {reachable} experts in topk_group = {c.topk_group} groups; raise topk_group"
    require(active <= reachable, f"num_experts_per_tok {active} exceeds {say}")
    dense, layers = c.first_k_dense_replace, c.num_hidden_layers
    require(dense <= layers, f"first_k_dense_replace is {dense} but there are {layers} layers")

"""What cannot be built, and why: each refusal is a sentence that names the value and the remedy."""

import dataclasses
import math

MODEL_TYPES = ("kimi_k2", "deepseek_v3")
MAY_BE_ZERO = ("n_shared_experts", "first_k_dense_replace")
LARGEST = (
    2**20
)  # of a width or a count that has no limit of its own: beyond it a config is broken, and building would hang
LIMITS = {
    "num_hidden_layers": 1024,
    "n_routed_experts": 2**14,
    "vocab_size": 2**24,
    "max_position_embeddings": 2**30,
    "bos_token_id": 2**24,
    "eos_token_id": 2**24,
}


def require(condition: bool, message: str) -> None:
    """ValueError with the message unless the condition holds."""
    if not condition:
        raise ValueError(message)


def check(c) -> None:
    """ValueError unless a model of the K2Config `c` can be built: the types and sizes first, then what must fit together."""
    for field in dataclasses.fields(c):
        _check_type(field, getattr(c, field.name))
    _check_widths(c)
    _check_experts(c)
    known = f"this class describes {' and '.join(MODEL_TYPES)}"
    require(c.model_type in MODEL_TYPES, f"model_type is {c.model_type!r}; {known}")


def is_number(value: object) -> bool:
    """Whether it is a finite number; True, False and text are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def _check_type(field: dataclasses.Field, value: object) -> None:
    name, optional = field.name, field.type == int | None
    if field.type is int or (optional and value is not None):
        least = 0 if name in MAY_BE_ZERO or name.endswith("token_id") else 1
        most, null = LIMITS.get(name, LARGEST), " or null" if optional else ""
        whole = type(value) is int and least <= value <= most
        require(whole, f"{name} is {value!r}; give an integer from {least} to {most}{null}")
    elif field.type is float:
        require(is_number(value) and value > 0, f"{name} is {value!r}; give a finite number above 0")
    elif field.type is str:
        require(isinstance(value, str), f"{name} is {value!r}; give text")


def _check_widths(c) -> None:
    rotary = c.qk_rope_head_dim
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

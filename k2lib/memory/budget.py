"""How many bytes of activations a policy keeps, from the config alone: what a layer saves, tensor by tensor.

One table says what each tensor is called, which part of the forward pass can form it again, how wide it is and how
many rows a token has of it. A test compares its sums with measured bytes; at K2's size, which no laptop can measure,
they are drawn (`k2lib.parallel.plan`).
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from k2lib.config import K2Config
from k2lib.memory.activations import SMALLEST
from k2lib.memory.forms import TILE
from k2lib.memory.policy import Policy


@dataclass(frozen=True)
class Saved:
    """One tensor of a layer that autograd saves."""

    name: str  # as in `k2lib.model.regions`
    width: int
    each: int  # bytes of a number as it is
    by: str | None = None  # the part that can form it again
    rows: float = 1  # a token


def kept_bytes(saved: Iterable[Saved], tokens: int, policy: Policy) -> tuple[dict[str, float], float]:
    """(bytes on the device by name, bytes on the host) of these tensors, for so many tokens."""
    device, host = defaultdict(float), 0.0
    for tensor in saved:
        rows = tokens * tensor.rows
        large = rows * tensor.width >= SMALLEST
        if tensor.by in policy.recompute:
            continue
        if large and tensor.name in policy.fp8:
            device[tensor.name] += rows * (tensor.width + 4 * -(-tensor.width // TILE))
        elif large and policy.offload:
            host += rows * tensor.width * tensor.each
        else:
            device[tensor.name] += rows * tensor.width * tensor.each
    return dict(device), host


def model_saves(c: K2Config, batch: int, length: int, policy: Policy, compute: int, align: int = 1) -> list[Saved]:
    """Everything that one pass of the model over [batch, length] tokens on one process saves under a policy.

    `compute`: bytes of a number in matrix products; the residual stream is fp32, as in training here. `align`: each
    expert's rows are padded to a multiple of it, which costs half of that an expert if loads are as good as random.
    """
    tokens, saved = batch * length, []
    rows = c.num_experts_per_tok + c.n_routed_experts * (align - 1) / 2 / tokens
    for layer in range(c.num_hidden_layers):
        stream = [Saved("residual", c.hidden_size, 4)]
        if "layer" in policy.recompute:
            saved += stream  # from which the layer runs again
            continue
        saved += stream + attention_saves(c, compute) + stream + feed_forward_saves(c, layer, compute, rows)
        if "up-projection" in policy.recompute:
            saved += [Saved("latent", c.qk_rope_head_dim, compute)]  # the rotated key, one of its inputs
    saved += [Saved("residual", c.hidden_size, 4), Saved("norm", 1, 4, "norm")]
    saved += [Saved("loss", c.hidden_size, compute), Saved("loss", c.hidden_size, 4, rows=c.vocab_size / tokens)]
    return saved + [Saved("other", 1, 8)] + [Saved("angles", c.qk_rope_head_dim // 2, 4, rows=1 / batch)] * 2


def attention_saves(c: K2Config, compute: int) -> list[Saved]:
    """What attention and the norm before it save, but for the residual stream."""
    heads, query = c.num_attention_heads, c.q_lora_rank
    saved = norm_saves(c.hidden_size, compute) + norm_saves(c.kv_lora_rank, compute)
    saved += [Saved("latent", c.kv_lora_rank + c.qk_rope_head_dim, compute)]
    if query is not None:
        saved += [Saved("latent", query, compute), *norm_saves(query, compute)]
    for width in (c.qk_head_dim, c.qk_head_dim, c.v_head_dim):
        saved += [Saved("up-projection", heads * width, compute, "up-projection")]
    mixed = heads * c.v_head_dim
    return [*saved, Saved("attention output", mixed, compute), Saved("copy", mixed, compute, "copy")]


def feed_forward_saves(c: K2Config, layer: int, compute: int, rows: float) -> list[Saved]:
    """What a dense or sparse feed-forward part and the norm before it save; routed experts have `rows` a token."""
    if not c.is_moe(layer):
        return norm_saves(c.hidden_size, compute) + swiglu_saves(c.intermediate_size, compute)
    saved = [Saved("expert input", c.hidden_size, compute, "norm"), Saved("norm", 1, 4, "norm")]
    active, shared = c.num_experts_per_tok, c.n_shared_experts * c.moe_intermediate_size
    saved += [Saved("copy", c.hidden_size, 4, "copy")] if compute != 4 else []  # the router reads fp32
    for width, each in ((c.n_routed_experts, 4), (active, 4), (1, 4), (active, 8)):  # scores, gates, their sum, chosen
        saved += [Saved("routing", width, each, "routing")]
    saved += [Saved("rows", active, 8), Saved("rows", 1, 8, rows=rows), Saved("rows", 1, compute, rows=rows)]
    saved += [Saved("swiglu input", 2 * c.moe_intermediate_size, compute, rows=rows)]
    return saved + (swiglu_saves(shared, compute) if shared else [])


def across_processes(c: K2Config, compute: int, written_out: bool) -> list[Saved]:
    """What the routed experts of a layer save besides where rows arrive from other processes.

    `written_out`: as plain autograd would, with the experts as a chain of operations and gates that weigh their outputs.
    """
    active, hidden = c.num_experts_per_tok, c.moe_intermediate_size
    saved = [Saved("expert input", c.hidden_size, compute, rows=active)]
    if written_out:
        saved += [Saved("swiglu", hidden, compute, "swiglu", active)] * 2
        saved += [Saved("down-projection", c.hidden_size, compute, "down-projection", active)]
    return saved


def norm_saves(width: int, compute: int) -> list[Saved]:
    """A norm's result, and one number a row; what it reads has its own name."""
    return [Saved("norm", width, compute, "norm"), Saved("norm", 1, 4, "norm")]


def swiglu_saves(width: int, compute: int) -> list[Saved]:
    """gate and up, silu(gate) and the product, of a dense or shared feed-forward part."""
    return [Saved("swiglu input", width, compute)] * 2 + [Saved("swiglu", width, compute, "swiglu")] * 2

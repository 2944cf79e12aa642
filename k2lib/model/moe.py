"""Sparse mixture of experts: sigmoid routing, balanced by a bias and not by a loss; one shared expert (section 2.3).

Shapes: T tokens, D width, E experts, K chosen per token, F expert width, S rows: (token, expert) pairs by expert.
The router adds a per-expert bias to its scores to *select*, and weighs the selected experts by the scores without it.
After each step the bias of an overloaded expert falls and that of an idle one rises (`update_bias`), so no auxiliary
loss pulls at the weights, and no token is ever dropped.
"""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from k2lib import machine
from k2lib.config import K2Config
from k2lib.model.choose import choose
from k2lib.model.norm import compute_dtype
from k2lib.model.regions import counts, named, region


class MLP(nn.Module):
    """SwiGLU: down(silu(gate(x)) · up(x))."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.gate_proj = nn.Linear(width, hidden, bias=False)
        self.up_proj = nn.Linear(width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate_up = named("swiglu input", self.gate_proj(x), self.up_proj(x))
        return self.down_proj(region("swiglu", swiglu, *gate_up))


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    return F.silu(gate) * up


class Router(nn.Module):
    def __init__(self, config: K2Config):
        super().__init__()
        self.config = config
        self.weight = nn.Parameter(torch.empty(config.n_routed_experts, config.hidden_size))
        self.register_buffer("e_score_correction_bias", torch.zeros(config.n_routed_experts))
        self.register_buffer("load", torch.zeros(config.n_routed_experts), persistent=False)  # tokens since an update

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Gate weights [T, K] and expert indices [T, K] of x [T, D]; scored in fp32 whatever the compute dtype."""
        with machine.full_precision(x.device):
            logits = F.linear(region("copy", Tensor.float, x), self.weight.float())
        gates, chosen = self._choose(logits)
        if self.training and counts():
            self.load += torch.bincount(chosen.flatten(), minlength=self.config.n_routed_experts)
        return gates, chosen

    def _choose(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        c = self.config
        if c.n_group == 1 and not machine.on_host(logits):
            return choose(logits, self.e_score_correction_bias, c.num_experts_per_tok, c.routed_scaling_factor)
        scores = logits.sigmoid()
        biased = self._allowed(scores.detach() + self.e_score_correction_bias)
        chosen = biased.topk(c.num_experts_per_tok, sorted=False).indices
        gates = scores.gather(1, chosen)
        return gates / (gates.sum(-1, keepdim=True) + 1e-20) * c.routed_scaling_factor, chosen

    def _allowed(self, biased: Tensor) -> Tensor:
        """Only experts of the best groups, where the config groups them; a group's score is the sum of its best two."""
        c = self.config
        if c.n_group == 1:
            return biased
        groups = biased.view(-1, c.n_group, c.n_routed_experts // c.n_group)
        best = groups.topk(min(2, groups.shape[-1]), dim=-1).values.sum(-1).topk(c.topk_group, sorted=False).indices
        closed = torch.ones_like(groups[..., 0], dtype=torch.bool).scatter_(1, best, False)
        return groups.masked_fill(closed.unsqueeze(-1), float("-inf")).flatten(1)

    @torch.no_grad()
    def update_bias(self, rate: float) -> None:
        """b += u·(sign(e) − mean sign(e)), e = mean load − load (Moonlight, §2.3); then starts counting afresh."""
        direction = (self.load.mean() - self.load).sign()
        self.e_score_correction_bias += rate * (direction - direction.mean())
        self.load.zero_()


class Experts(nn.Module):
    """All experts of a layer as two stacked weights, so that a grouped product serves them without a loop."""

    def __init__(self, config: K2Config):
        super().__init__()
        experts, width, hidden = config.n_routed_experts, config.hidden_size, config.moe_intermediate_size
        self.gate_up_proj = nn.Parameter(torch.empty(experts, 2 * hidden, width))  # gate rows first
        self.down_proj = nn.Parameter(torch.empty(experts, width, hidden))

        self.dispatch: Dispatch = on_this_process  # expert parallelism puts another in its place

    def forward(self, x: Tensor, gates: Tensor, chosen: Tensor) -> Tensor:  # x [T, D] -> [T, D]
        return self.dispatch(x.to(compute_dtype(x)), self.gate_up_proj, self.down_proj, gates, chosen)

    def reference(self, x: Tensor, gates: Tensor, chosen: Tensor) -> Tensor:
        """The same, one expert after another."""
        output = torch.zeros_like(x)
        for expert, (gate_up, down) in enumerate(zip(self.gate_up_proj, self.down_proj, strict=True)):
            token, slot = (chosen == expert).nonzero(as_tuple=True)
            gate, up = F.linear(x[token], gate_up).chunk(2, dim=-1)
            weighed = F.silu(gate) * up * gates[token, slot, None].to(x.dtype)
            output = output.index_add(0, token, F.linear(weighed, down))
        return output


Dispatch = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]


@torch.compiler.disable  # row counts depend on the data, and PyTorch traces grouped products in bf16 only
def on_this_process(x: Tensor, gate_up_proj: Tensor, down_proj: Tensor, gates: Tensor, chosen: Tensor) -> Tensor:
    """The weighed sum [T, D] of each token's experts, all of which are here."""
    return RoutedExperts.apply(named("expert input", x), gate_up_proj, down_proj, gates, chosen)


class RoutedExperts(torch.autograd.Function):
    """The experts' work on all tokens: sort pairs by expert, two grouped products, weigh, sum per token.

    Kept for the backward pass: x and the SwiGLU's input. No gathered copy of x, and no output of the down-projection:
    the gate weight is folded in before it, so the gate's gradient needs only the activation.
    """

    @staticmethod
    def forward(ctx, x, gate_up_weight, down_weight, gates, chosen):
        token, weight, place, ends = rows_by_expert(gates, chosen, gate_up_weight.shape[0], alignment(x))
        weight = weight.to(x.dtype)
        gate_up = F.grouped_mm(x.index_select(0, token), gate_up_weight.to(x.dtype).transpose(1, 2), offs=ends)
        gate, up = gate_up.chunk(2, dim=-1)
        y = F.grouped_mm(F.silu(gate).mul_(up).mul_(weight), down_weight.to(x.dtype).transpose(1, 2), offs=ends)
        named("swiglu input", gate_up)
        named("rows", weight, token, place, ends)
        ctx.save_for_backward(x, gate_up_weight, down_weight, gate_up, weight, token, place, ends)
        ctx.gates_dtype = gates.dtype
        return sum_rows(y, place)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, d_output):
        x, gate_up_weight, down_weight, gate_up, weight, token, place, ends = ctx.saved_tensors
        d_y = d_output.index_select(0, token)
        d_scaled = F.grouped_mm(d_y, down_weight.to(x.dtype), offs=ends)
        gate, up = gate_up.chunk(2, dim=-1)
        silu = F.silu(gate)
        activation = silu * up
        d_weight = (d_scaled * activation).sum(-1, dtype=torch.float32)
        d_down_weight = F.grouped_mm(d_y.t(), activation.mul_(weight), offs=ends)
        d_activation = d_scaled.mul_(weight)
        d_gate = torch.ops.aten.silu_backward(d_activation * up, gate)
        d_gate_up = torch.cat((d_gate, d_activation.mul_(silu)), dim=-1)
        d_gate_up_weight = F.grouped_mm(d_gate_up.t(), x.index_select(0, token), offs=ends)
        d_x = sum_rows(F.grouped_mm(d_gate_up, gate_up_weight.to(x.dtype), offs=ends), place)
        d_gates = d_weight[place].to(ctx.gates_dtype)
        return d_x, d_gate_up_weight.to(gate_up_weight.dtype), d_down_weight.to(down_weight.dtype), d_gates, None


def sum_rows(rows: Tensor, place: Tensor) -> Tensor:
    """rows[place].sum(1) for place [T, K], without the gathered copy: ten times faster than indexing on the CPU."""
    return F.embedding_bag(place, rows, mode="sum")


def rows_by_expert(gates: Tensor, chosen: Tensor, experts: int, align: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The (token, expert) pairs as rows sorted by expert, every expert's rows padded to a multiple of `align`.

    Returns token [S] and weight [S, 1] of each row, place [T, K] of each pair among the rows, and ends [E] int32 of
    each expert's rows. A padding row carries token 0 with weight 0, which adds nothing to any sum, forward or backward.
    """
    tokens, active = chosen.shape
    flat = chosen.flatten()
    counts = torch.bincount(flat, minlength=experts)
    ends = (counts + (align - 1)).div(align, rounding_mode="floor").mul(align).cumsum(0)
    rows = flat.numel() if align == 1 else int(ends[-1])
    order = flat.argsort(stable=True)
    shift = torch.cat((ends.new_zeros(1), ends[:-1])) - (counts.cumsum(0) - counts)  # padding before each expert
    position = torch.arange(flat.numel(), device=flat.device) + shift[flat[order]]
    token = torch.zeros(rows, dtype=torch.int64, device=flat.device).scatter_(0, position, order // active)
    weight = gates.new_zeros(rows).scatter_(0, position, gates.flatten()[order])
    place = torch.empty_like(order).scatter_(0, order, position).view(tokens, active)
    return token, weight.unsqueeze(1), place, ends.to(torch.int32)


def alignment(x: Tensor) -> int:
    """To how many rows each expert is padded.

    The CPU's bf16 library compiles a kernel for every new row count, at a millisecond each, and the loads of a router
    never repeat: that doubles the time of a training step. Multiples of 64 do repeat.
    """
    return 64 if machine.on_host(x) and x.dtype == torch.bfloat16 and x.shape[0] >= 512 else 1


class MoE(nn.Module):
    def __init__(self, config: K2Config):
        super().__init__()
        self.gate = Router(config)
        self.experts = Experts(config)
        shared = config.n_shared_experts
        self.shared_experts = MLP(config.hidden_size, config.moe_intermediate_size * shared) if shared else None

    def forward(self, x: Tensor) -> Tensor:  # [B, T, D]
        flat = named("expert input", x.flatten(0, -2))
        gates, chosen = region("routing", self.gate, flat)
        output = self.experts(flat, gates, chosen).view_as(x)
        return output if self.shared_experts is None else output + self.shared_experts(x)


def routers(model: nn.Module) -> Iterator[Router]:
    return (module for module in model.modules() if isinstance(module, Router))


def router_loads(model: nn.Module) -> list[Tensor]:
    """[E] tokens per expert since the last bias update, one tensor a layer."""
    return [router.load for router in routers(model)]


def update_router_bias(model: nn.Module, rate: float = 1e-3) -> None:
    """One balancing step of every router; call it once an optimisation step."""
    for router in routers(model):
        router.update_bias(rate)


def max_violation(load: Tensor) -> float:
    """How far the fullest expert is above the mean: max/mean − 1; 0 is perfect balance."""
    return float(load.max() / load.mean().clamp_min(1e-9)) - 1.0

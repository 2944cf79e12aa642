"""Expert parallelism: every process holds a share of the experts, and tokens travel to theirs and back (section 2.4.2).

Shapes: T tokens of this process, K experts a token, S = T·K pairs, R pairs received, D width, E experts, P processes.
Rows go out sorted by expert, each with its gate weight; outputs come home in the same order and are summed. Weighed where
the experts are, before their down-projection, no output of it need be kept for the gates' gradient. The gradient of an
all-to-all is the all-to-all with the two split lists exchanged.
"""

import torch
import torch.distributed as dist
from torch import Tensor, nn

from k2lib.model.moe import Experts, on_this_process, sum_rows


class AllToAll(torch.autograd.Function):
    """apply(rows [S, D], sent [P], received [P]) -> rows [R, D]: the first sent[0] rows go to process 0, and so on."""

    @staticmethod
    def forward(ctx, rows, sent, received):
        ctx.sent, ctx.received = sent, received
        output = rows.new_empty(sum(received), rows.shape[1])
        dist.all_to_all_single(output, rows.contiguous(), received, sent)
        return output

    @staticmethod
    def backward(ctx, d_output):
        d_rows = d_output.new_empty(sum(ctx.sent), d_output.shape[1])
        dist.all_to_all_single(d_rows, d_output.contiguous(), ctx.sent, ctx.received)
        return d_rows, None, None


class AcrossProcesses:
    """The dispatch of `Experts` that hold one process's share: rows travel to their experts and home again."""

    def __init__(self, processes: int):
        self.processes = processes

    def __call__(self, x: Tensor, gate_up_proj: Tensor, down_proj: Tensor, gates: Tensor, chosen: Tensor) -> Tensor:
        """x [T, D], gates and chosen [T, K] -> [T, D]; gate_up_proj and down_proj are of the E/P experts here."""
        (tokens, active), local = chosen.shape, gate_up_proj.shape[0]
        flat = chosen.flatten()
        order = flat.argsort(stable=True)
        counts = torch.bincount(flat, minlength=local * self.processes)  # [E] pairs for each expert
        arriving = torch.empty_like(counts)  # [P · E/P]: for the experts here, from each process
        dist.all_to_all_single(arriving, counts)
        sent = counts.view(self.processes, -1).sum(1).tolist()
        received = arriving.view(self.processes, -1).sum(1).tolist()
        rows = AllToAll.apply(x[order // active], sent, received)
        weight = AllToAll.apply(gates.flatten()[order].unsqueeze(1), sent, received)
        expert = torch.arange(local, device=x.device).repeat(self.processes).repeat_interleave(arriving)
        output = on_this_process(rows, gate_up_proj, down_proj, weight, expert.unsqueeze(1))
        home = AllToAll.apply(output, received, sent)
        back = torch.empty_like(order).scatter_(0, order, torch.arange(order.numel(), device=x.device))
        return sum_rows(home, back.view(tokens, active))


def shard_experts(model: nn.Module, rank: int, processes: int) -> nn.Module:
    """Leave this process's share in every sparse layer, experts rank·E/P … (rank + 1)·E/P; returns the model.

    ValueError if the experts cannot be shared equally.
    """
    for experts in (module for module in model.modules() if isinstance(module, Experts)):
        count = experts.gate_up_proj.shape[0]
        if count % processes:
            fitting = ", ".join(str(d) for d in range(1, count + 1) if count % d == 0)
            raise ValueError(f"{count} experts cannot be shared by ep={processes} processes; choose ep from {fitting}")
        mine = slice(rank * count // processes, (rank + 1) * count // processes)
        experts.gate_up_proj = nn.Parameter(experts.gate_up_proj.detach()[mine].clone())
        experts.down_proj = nn.Parameter(experts.down_proj.detach()[mine].clone())
        experts.dispatch = AcrossProcesses(processes)
    return model


def synchronise(model: nn.Module, processes: int) -> None:
    """After the backward pass: gradients of the mean loss over all processes, router loads and maximum logits of all tokens.

    A shared parameter's gradient is the mean over processes. An expert has seen every process's tokens already; its
    gradient only has to be divided.
    """
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            if parameter.grad is not None:
                if not isinstance(module, Experts):
                    dist.all_reduce(parameter.grad)
                parameter.grad /= processes
        if hasattr(module, "load"):
            dist.all_reduce(module.load)
        if getattr(module, "max_logits", None) is not None:
            dist.all_reduce(module.max_logits, op=dist.ReduceOp.MAX)

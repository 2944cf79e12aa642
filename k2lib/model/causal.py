"""Causal attention in chunks of queries, which yields each head's largest logit on the way (section 2.1, QK-Clip).

For a chunk of queries only the keys before its end matter, so no T×T tensor exists, forward or backward: the backward
pass computes the probabilities of a chunk again. The largest logit falls out of the scores that are there anyway. What
surprised: this plain loop also beats the stock CPU kernels, which give no maximum and leave their fast path when values
are narrower than keys, as in latent attention.
"""

import torch
from torch import Tensor

from k2lib.model.regions import named


def reference(q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """The same in plain words: (output [N, T, V], largest logit [N]); q, k [N, T, D], v [N, T, V]."""
    length = q.shape[1]
    future = torch.ones(length, length, dtype=torch.bool, device=q.device).triu(1)
    scores = (q @ k.transpose(1, 2) * scale).masked_fill(future, float("-inf"))
    return scores.softmax(-1) @ v, scores.amax((1, 2))


class CausalAttention(torch.autograd.Function):
    """apply(q [N, T, D], k [N, T, D], v [N, T, V], scale, chunk) -> output [N, T, V], largest logit [N] (fp32).

    N counts (sequence, head) pairs. Kept for the backward pass: q, k, v and the output.
    """

    @staticmethod
    def forward(ctx, q, k, v, scale, chunk):
        output = q.new_empty(*q.shape[:2], v.shape[2])
        largest = q.new_full((q.shape[0],), float("-inf"), dtype=torch.float32)
        mask = _sliding_mask(q, chunk)
        for start in range(0, q.shape[1], chunk):
            end = min(start + chunk, q.shape[1])
            scores = _scores(q, k, mask, start, end, scale)
            largest = torch.maximum(largest, scores.amax((1, 2)).float())
            output[:, start:end] = torch.bmm(scores.softmax(-1), v[:, :end])
        ctx.save_for_backward(q, k, v, named("attention output", output))
        ctx.scale, ctx.chunk = scale, chunk
        ctx.mark_non_differentiable(largest)
        return output, largest

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, d_output, _):
        q, k, v, output = ctx.saved_tensors
        dq = torch.empty_like(q)
        dk, dv = (torch.zeros_like(t, dtype=torch.float32) for t in (k, v))  # sums over chunks, too many for bf16
        mask = _sliding_mask(q, ctx.chunk)
        shared = (d_output.float() * output).sum(-1, keepdim=True).to(q.dtype)  # Σ_j p_j ∂L/∂p_j, one per query
        for start in range(0, q.shape[1], ctx.chunk):
            end = min(start + ctx.chunk, q.shape[1])
            probabilities = _scores(q, k, mask, start, end, ctx.scale).softmax(-1)
            d_chunk = d_output[:, start:end]
            dv[:, :end] += torch.bmm(probabilities.transpose(1, 2), d_chunk)
            d_scores = torch.bmm(d_chunk, v[:, :end].transpose(1, 2)).sub_(shared[:, start:end]).mul_(probabilities)
            dq[:, start:end] = torch.bmm(d_scores, k[:, :end])
            dk[:, :end] += torch.bmm(d_scores.transpose(1, 2), q[:, start:end])
        return dq.mul_(ctx.scale), dk.mul_(ctx.scale).to(k.dtype), dv.to(v.dtype), None, None


def _scores(q: Tensor, k: Tensor, mask: Tensor, start: int, end: int, scale: float) -> Tensor:
    """Logits [N, end - start, end] of the queries start…end, future keys at minus infinity, in one product."""
    length = q.shape[1]
    bias = mask[: end - start, length - start : length - start + end]
    return torch.baddbmm(bias, q[:, start:end], k[:, :end].transpose(1, 2), alpha=scale)


def _sliding_mask(q: Tensor, chunk: int) -> Tensor:
    """[chunk, T + chunk]: row i is 0 up to column T + i, then minus infinity; a window of it masks any chunk."""
    mask = q.new_full((chunk, q.shape[1] + chunk), float("-inf"))
    return mask.triu_(q.shape[1] + 1)

"""Causal attention in chunks of queries, which yields each head's largest logit on the way (section 2.1, QK-Clip).

For a chunk of queries only the keys before its end matter, so no T×T tensor exists, forward or backward: the backward
pass computes the probabilities of a chunk again. The largest logit falls out of the scores that are there anyway. What
surprised: this plain loop also beats the stock CPU kernels, which give no maximum and leave their fast path when values
are narrower than keys, as in latent attention.
"""

import torch
from torch import Tensor

from k2lib.model.regions import named


def reference(q: Tensor, k: Tensor, v: Tensor, scale: float, starts: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The same in plain words: (output [N, T, V], largest logit [N]); q, k [N, T, D], v [N, T, V], starts [N, T]."""
    length = q.shape[1]
    hidden = torch.ones(length, length, dtype=torch.bool, device=q.device).triu(1)
    if starts is not None:
        hidden = hidden | (torch.arange(length, device=q.device) < starts[..., None])
    scores = (q @ k.transpose(1, 2) * scale).masked_fill(hidden, float("-inf"))
    return scores.softmax(-1) @ v, scores.amax((1, 2))


class CausalAttention(torch.autograd.Function):
    """apply(q [N, T, D], k [N, T, D], v [N, T, V], scale, chunk, starts) -> output [N, T, V], largest logit [N] (fp32).

    N counts (sequence, head) pairs. `starts` [B, T] int64, N a multiple of B, is where the document of each token begins: what stands
    before it is not seen. Kept for the backward pass: q, k, v and the output.
    """

    @staticmethod
    def forward(ctx, q, k, v, scale, chunk, starts=None):
        output = q.new_empty(*q.shape[:2], v.shape[2])
        largest = q.new_full((q.shape[0],), float("-inf"), dtype=torch.float32)
        mask = _sliding_mask(q, chunk)
        for start in range(0, q.shape[1], chunk):
            end = min(start + chunk, q.shape[1])
            scores = _scores(q, k, mask, start, end, scale, starts)
            largest = torch.maximum(largest, scores.amax((1, 2)).float())
            output[:, start:end] = torch.bmm(scores.softmax(-1), v[:, :end])
        ctx.save_for_backward(q, k, v, named("attention output", output))
        ctx.scale, ctx.chunk, ctx.starts = scale, chunk, starts
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
            probabilities = _scores(q, k, mask, start, end, ctx.scale, ctx.starts).softmax(-1)
            d_chunk = d_output[:, start:end]
            dv[:, :end] += torch.bmm(probabilities.transpose(1, 2), d_chunk)
            d_scores = torch.bmm(d_chunk, v[:, :end].transpose(1, 2)).sub_(shared[:, start:end]).mul_(probabilities)
            dq[:, start:end] = torch.bmm(d_scores, k[:, :end])
            dk[:, :end] += torch.bmm(d_scores.transpose(1, 2), q[:, start:end])
        return dq.mul_(ctx.scale), dk.mul_(ctx.scale).to(k.dtype), dv.to(v.dtype), None, None, None


def _scores(q: Tensor, k: Tensor, mask: Tensor, start: int, end: int, scale: float, starts: Tensor | None) -> Tensor:
    """Logits [N, end - start, end] of the queries start…end, keys of the future and of other documents at minus infinity."""
    length = q.shape[1]
    bias = mask[: end - start, length - start : length - start + end]
    scores = torch.baddbmm(bias, q[:, start:end], k[:, :end].transpose(1, 2), alpha=scale)
    if starts is not None:
        others = torch.arange(end, device=q.device) < starts[:, start:end, None]  # [B, end - start, end]
        scores.unflatten(0, (len(starts), -1)).masked_fill_(others[:, None], float("-inf"))
    return scores


def _sliding_mask(q: Tensor, chunk: int) -> Tensor:
    """[chunk, T + chunk]: row i is 0 up to column T + i, then minus infinity; a window of it masks any chunk."""
    mask = q.new_full((chunk, q.shape[1] + chunk), float("-inf"))
    return mask.triu_(q.shape[1] + 1)

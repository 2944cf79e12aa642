"""Causal attention in chunks of queries, which yields each head's largest logit on the way (section 2.1, QK-Clip).

For a chunk of queries only the keys before its end matter, so no T×T tensor exists, forward or backward: the backward
pass rebuilds the probabilities of a chunk from the saved log-sum-exp. The largest logit falls out of the scores that are
there anyway. Stock kernels give it on no CPU, and with a value narrower than the key (as in MLA) they leave their fast path.
"""

import torch
from torch import Tensor


def reference(q: Tensor, k: Tensor, v: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """The same in plain words: (output [N, T, V], largest logit [N]); q, k [N, T, D], v [N, T, V]."""
    length = q.shape[1]
    hidden = torch.ones(length, length, dtype=torch.bool, device=q.device).triu(1)
    scores = (q @ k.transpose(1, 2) * scale).float().masked_fill(hidden, float("-inf"))
    return scores.softmax(-1).to(v.dtype) @ v, scores.amax((1, 2))


class CausalAttention(torch.autograd.Function):
    """apply(q [N, T, D], k [N, T, D], v [N, T, V], scale, chunk) -> output [N, T, V], largest logit [N] (fp32)."""

    @staticmethod
    def forward(ctx, q, k, v, scale, chunk):
        output = q.new_empty(*q.shape[:2], v.shape[2])
        normaliser = q.new_empty(q.shape[:2], dtype=torch.float32)  # log-sum-exp of each query
        largest = q.new_full((q.shape[0],), float("-inf"), dtype=torch.float32)
        for start in range(0, q.shape[1], chunk):
            end = min(start + chunk, q.shape[1])
            scores = _scores(q, k, start, end, scale)
            largest = torch.maximum(largest, scores.amax((1, 2)))
            normaliser[:, start:end] = scores.logsumexp(-1)
            probabilities = (scores - normaliser[:, start:end, None]).exp_().to(v.dtype)
            output[:, start:end] = probabilities @ v[:, :end]
        ctx.save_for_backward(q, k, v, output, normaliser)
        ctx.scale, ctx.chunk = scale, chunk
        ctx.mark_non_differentiable(largest)
        return output, largest

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, d_output, _):
        q, k, v, output, normaliser = ctx.saved_tensors
        dq = torch.empty_like(q)
        dk, dv = torch.zeros_like(k, dtype=torch.float32), torch.zeros_like(v, dtype=torch.float32)
        shared = (d_output.float() * output.float()).sum(-1, keepdim=True)
        for start in range(0, q.shape[1], ctx.chunk):
            end = min(start + ctx.chunk, q.shape[1])
            probabilities = (_scores(q, k, start, end, ctx.scale) - normaliser[:, start:end, None]).exp_()
            d_chunk = d_output[:, start:end]
            dv[:, :end] += probabilities.to(v.dtype).transpose(1, 2) @ d_chunk
            d_scores = (d_chunk @ v[:, :end].transpose(1, 2)).float()
            d_scores = d_scores.sub_(shared[:, start:end]).mul_(probabilities).mul_(ctx.scale).to(q.dtype)
            dq[:, start:end] = d_scores @ k[:, :end]
            dk[:, :end] += d_scores.transpose(1, 2) @ q[:, start:end]
        return dq, dk.to(k.dtype), dv.to(v.dtype), None, None


def _scores(q: Tensor, k: Tensor, start: int, end: int, scale: float) -> Tensor:
    """Logits [N, end - start, end] of the queries start…end, fp32, future keys at minus infinity."""
    scores = (q[:, start:end] @ k[:, :end].transpose(1, 2)).float().mul_(scale)
    size = end - start
    hidden = torch.ones(size, size, dtype=torch.bool, device=q.device).triu(1)
    scores[:, :, start:end].masked_fill_(hidden, float("-inf"))
    return scores

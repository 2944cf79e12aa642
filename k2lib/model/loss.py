"""Cross-entropy straight from the last hidden state, chunk by chunk, so that the logits of a batch never exist at once.

At K2's vocabulary of 163,840 the logits of one 4096-token sequence are 2.7 GB in fp32. The gradients are formed in the
forward pass, chunk by chunk, and only scaled in the backward.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 1024  # tokens


class LinearCrossEntropy(torch.autograd.Function):
    """apply(hidden [N, D], weight [V, D], targets [N], weights [N]) -> Σ weights · cross-entropy, a scalar in fp32."""

    @staticmethod
    def forward(ctx, hidden, weight, targets, weights):
        total = hidden.new_zeros((), dtype=torch.float32)
        need = any(ctx.needs_input_grad)
        d_hidden = torch.empty_like(hidden) if need else None
        d_weight = torch.zeros_like(weight, dtype=torch.float32) if need else None
        cast = weight.to(hidden.dtype)
        for start in range(0, hidden.shape[0], CHUNK):
            rows = slice(start, start + CHUNK)
            logits = (hidden[rows] @ cast.t()).float()
            total += (F.cross_entropy(logits, targets[rows], reduction="none") * weights[rows]).sum()
            if need:
                d_logits = logits.softmax(-1)
                d_logits[torch.arange(d_logits.shape[0], device=logits.device), targets[rows]] -= 1
                d_logits = d_logits.mul_(weights[rows, None]).to(hidden.dtype)
                d_hidden[rows] = d_logits @ cast
                d_weight += d_logits.t() @ hidden[rows]
        ctx.save_for_backward(d_hidden, d_weight)
        ctx.weight_dtype = weight.dtype
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, scale):
        d_hidden, d_weight = ctx.saved_tensors
        return (d_hidden * scale).to(d_hidden.dtype), (d_weight * scale).to(ctx.weight_dtype), None, None


def cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Mean cross-entropy over the weighted targets; hidden [..., D], targets and weights [...]."""
    weights = torch.ones_like(targets, dtype=torch.float32) if weights is None else weights.float()
    total = LinearCrossEntropy.apply(hidden.flatten(0, -2), weight, targets.flatten(), weights.flatten())
    return total / weights.sum().clamp_min(1e-9)

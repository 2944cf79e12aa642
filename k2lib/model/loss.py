"""Cross-entropy straight from the last hidden state, chunk by chunk, so that the logits of a batch never exist at once.

At K2's vocabulary of 163,840 the logits of one 4096-token sequence are 2.7 GB in fp32. The gradients are formed in the
forward pass, chunk by chunk, and only scaled in the backward.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from k2lib import machine
from k2lib.model.regions import named

IGNORED = -100  # a target that does not count, as everywhere in PyTorch
CHUNK, CHUNK_ON_HOST = 8192, 256  # tokens; the logits of a chunk should stay in a processor's cache


def reference(hidden: Tensor, weight: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """The same in one line: Σ weights · cross-entropy."""
    return (F.cross_entropy((hidden @ weight.t()).float(), targets, reduction="none") * weights).sum()


class LinearCrossEntropy(torch.autograd.Function):
    """apply(hidden [N, D], weight [V, D], targets [N], weights [N]) -> Σ weights · cross-entropy, a scalar in fp32."""

    @staticmethod
    def forward(ctx, hidden, weight, targets, weights):
        total = hidden.new_zeros((), dtype=torch.float32)
        need = any(ctx.needs_input_grad)
        d_hidden = named("loss", torch.empty_like(hidden)) if need else None
        d_weight = named("loss", torch.zeros_like(weight, dtype=torch.float32)) if need else None
        cast, chunk = weight.to(hidden.dtype), CHUNK_ON_HOST if machine.on_host(hidden) else CHUNK
        for start in range(0, hidden.shape[0], chunk):
            rows = slice(start, start + chunk)
            x, target, weigh = hidden[rows], targets[rows].unsqueeze(1), weights[rows].unsqueeze(1)
            logits = (x @ cast.t()).float()
            p = logits.softmax(-1)
            normaliser = logits.amax(-1, keepdim=True) - p.amax(-1, keepdim=True).log()  # log Σ exp, from the likeliest
            total = total + ((normaliser - logits.gather(1, target)) * weigh).sum()
            if need:  # ∂/∂logits = weights · (p − one-hot); the weights act on the narrow side of both products
                error = p.scatter_add_(1, target, p.new_full(target.shape, -1.0)).to(hidden.dtype)
                d_hidden[rows] = (error @ cast) * weigh
                d_weight += error.t() @ (x * weigh).to(hidden.dtype)
        ctx.save_for_backward(d_hidden, d_weight)
        ctx.weight_dtype = weight.dtype
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, scale):
        d_hidden, d_weight = ctx.saved_tensors
        return (d_hidden * scale).to(d_hidden.dtype), (d_weight * scale).to(ctx.weight_dtype), None, None


def cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """Mean cross-entropy over the weighted targets; hidden [..., D], targets and weights [...]. A target of -100 has no weight."""
    weights = torch.ones_like(targets, dtype=torch.float32) if weights is None else weights.float()
    ignored = targets == IGNORED
    weights, targets = weights.masked_fill(ignored, 0.0), targets.masked_fill(ignored, 0)
    total = LinearCrossEntropy.apply(hidden.flatten(0, -2), weight, targets.flatten(), weights.flatten())
    return total / weights.sum().clamp_min(1e-9)

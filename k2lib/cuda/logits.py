"""kernels/max_logit.cu: the largest logit of every head, exactly only where it may pass a threshold."""

from collections.abc import Callable

import torch
from torch import Tensor

from k2lib.cuda.kernel import Kernel, ready

THREADS, QUERIES = 128, 64  # of a block


def max_logits(
    q: Tensor, k: Tensor, scale: float, tau: float, run: Callable = Kernel.__call__
) -> tuple[Tensor, Tensor]:
    """(maxima [N] fp32, exact [N] bool) of scale · q·kᵀ under a causal mask, q and k [N, T, D] bf16 contiguous.

    Where max|q| · max|k| · scale stays at or below `tau` that bound is returned and nothing else computed: such a head is
    never clipped. A NaN comes out as infinity. ValueError for a width that is no multiple of 16.
    """
    pairs, length, width = q.shape
    if width % 16 or q.shape != k.shape or q.dtype != torch.bfloat16:
        raise ValueError(f"max_logits takes bf16 [N, T, D], D a multiple of 16; got {q.dtype} {tuple(q.shape)}")
    q, k = ready(q), ready(k)
    bound = scale * torch.stack([_norms(x, run) for x in (q, k)]).prod(0).sqrt()
    exact = ~(bound <= tau)
    which = exact.nonzero().flatten()
    maxima = torch.full((pairs,), -torch.inf, dtype=torch.float32, device=q.device)
    kernel = Kernel("max_logit", f"largest_logit<{width}>", (Tensor,) * 4 + (int,))
    run(kernel, (len(which), -(-length // QUERIES)), (THREADS,), q, k, which, maxima, length)
    return torch.where(exact, scale * maxima, bound), exact


def _norms(x: Tensor, run: Callable) -> Tensor:
    """[N] the largest squared length of x's rows [N, T, D]."""
    pairs, length, width = x.shape
    norms = torch.zeros(pairs, dtype=torch.float32, device=x.device)
    kernel = Kernel("max_logit", "largest_norm", (Tensor, Tensor, int, int))
    run(kernel, (pairs, -(-length // THREADS)), (THREADS,), x, norms, length, width)
    return norms

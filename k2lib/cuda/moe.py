"""kernels/router.cu and kernels/moe_permute.cu: a token's experts, its rows to them and back."""

from collections.abc import Callable

import torch
from torch import Tensor

from k2lib.cuda import fp8
from k2lib.cuda.kernel import TYPES, Kernel, ready

WARP, ROUTER_THREADS, MOST_PER_LANE = 32, 128, 16
THREADS, VALUES = 256, 8


def choose(
    logits: Tensor, bias: Tensor, active: int, factor: float, run: Callable = Kernel.__call__
) -> tuple[Tensor, Tensor]:
    """Gates [T, K] fp32 and experts [T, K] int64, best first, of logits [T, E] fp32 and selection bias [E] fp32.

    ValueError for more experts than a warp holds, or more active ones than there are.
    """
    tokens, experts = logits.shape
    per_lane = -(-experts // WARP)
    if per_lane > MOST_PER_LANE or not 1 <= active <= experts:
        raise ValueError(f"the router serves 1 to {experts} of up to {WARP * MOST_PER_LANE} experts, not {active}")
    gates = torch.empty(tokens, active, dtype=torch.float32, device=logits.device)
    chosen = torch.empty(tokens, active, dtype=torch.int64, device=logits.device)
    kernel = Kernel("router", f"choose<{per_lane}>", (Tensor,) * 4 + (int, int, int, float))
    grid = (-(-tokens * WARP // ROUTER_THREADS),)
    run(kernel, grid, (ROUTER_THREADS,), ready(logits), ready(bias), gates, chosen, tokens, experts, active, factor)
    return gates, chosen


def permute(x: Tensor, token: Tensor, run: Callable = Kernel.__call__) -> Tensor:
    """x [T, D] and token [S] int64 -> x[token] [S, D]."""
    rows = x.new_empty(token.numel(), x.shape[1])
    kernel = Kernel("moe_permute", f"permute<{TYPES[x.dtype]}>", (Tensor,) * 3 + (int,))
    run(kernel, _columns(token.numel(), x), (THREADS,), ready(x), ready(token), rows, x.shape[1])
    return rows


def unpermute(rows: Tensor, place: Tensor, gates: Tensor, run: Callable = Kernel.__call__) -> Tensor:
    """Σ_k gates[t, k] · rows[place[t, k]] as [T, D], summed in fp32, of rows [S, D], place and gates [T, K]."""
    (tokens, active), width = place.shape, rows.shape[1]
    out = rows.new_empty(tokens, width)
    kernel = Kernel("moe_permute", f"unpermute<{TYPES[rows.dtype]}>", (Tensor,) * 4 + (int, int))
    run(kernel, _columns(tokens, rows), (THREADS,), ready(rows), ready(place), ready(gates), out, width, active)
    return out


def permute_fp8(x: Tensor, token: Tensor, run: Callable = Kernel.__call__) -> tuple[Tensor, Tensor]:
    """`permute` and `fp8.quantize` of its result in one pass: q [S, D] and scale [S, ⌈D/128⌉]."""
    rows, width = token.numel(), x.shape[1]
    across = -(-width // fp8.COLUMNS)
    q = torch.empty(rows, width, dtype=torch.float8_e4m3fn, device=x.device)
    scale = torch.empty(rows, across, dtype=torch.float32, device=x.device)
    kernel = Kernel("moe_permute", f"permute_fp8<{TYPES[x.dtype]}>", (Tensor,) * 4 + (int, int))
    run(kernel, fp8.row_tiles(rows, across), (THREADS,), ready(x), ready(token), q, scale, rows, width)
    return q, scale


def _columns(rows: int, x: Tensor) -> tuple[int, int]:
    return rows, -(-x.shape[1] // (THREADS * VALUES))

"""A token's experts and their weights, as one operation: sigmoid scores, selected with a bias, weighed without it (section 2.3).

On a GPU with CuPy kernels/router.cu does it, a warp a token; the formula here says the same anywhere. The bias only
selects: no gradient reaches it, and none reaches the logits of experts that were not chosen.
"""

import torch
from torch import Tensor

from k2lib import machine
from k2lib.cuda import moe as kernels
from k2lib.cuda.kernel import missing

MOST = kernels.WARP * kernels.MOST_PER_LANE  # experts that a warp holds


def choose(logits: Tensor, bias: Tensor, active: int, factor: float) -> tuple[Tensor, Tensor]:
    """gates [T, K] fp32 and experts [T, K] int64, best first, of logits [T, E] and bias [E], both fp32; K = active.

    The gates of a token sum to `factor`. ValueError for other dtypes or shapes, or more active experts than there are.
    """
    if logits.ndim != 2 or bias.shape != logits.shape[1:] or not logits.dtype == bias.dtype == torch.float32:
        given = [f"{t.dtype} {tuple(t.shape)}" for t in (logits, bias)]
        raise ValueError(f"choose takes fp32 logits [T, E] and bias [E]; got {', '.join(given)}")
    if not 1 <= active <= logits.shape[1]:
        raise ValueError(f"{active} of {logits.shape[1]} experts cannot be active; choose 1 to {logits.shape[1]}")
    gates, chosen = torch.ops.k2.choose_experts(logits.contiguous(), bias, active, factor)
    return gates, chosen


@torch.library.custom_op("k2::choose_experts", mutates_args=())
def _choose(logits: Tensor, bias: Tensor, active: int, factor: float) -> tuple[Tensor, Tensor]:
    return _formula(logits, bias, active, factor)


@_choose.register_fake
def _(logits: Tensor, _bias: Tensor, active: int, _factor: float) -> tuple[Tensor, Tensor]:
    shape = (logits.shape[0], active)
    return logits.new_empty(shape), logits.new_empty(shape, dtype=torch.int64)


@_choose.register_kernel(machine.GPU)
def _(logits: Tensor, bias: Tensor, active: int, factor: float) -> tuple[Tensor, Tensor]:
    fits = logits.shape[1] <= MOST and logits.numel() > 0 and missing() is None
    return (kernels.choose if fits else _formula)(logits, bias, active, factor)


def _save(ctx, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    logits, _, _, ctx.factor = inputs
    ctx.save_for_backward(logits, output[1])
    ctx.mark_non_differentiable(output[1])


def _gradient(ctx, d_gates: Tensor, _d_chosen: Tensor) -> tuple[Tensor, None, None, None]:
    logits, chosen = ctx.saved_tensors
    scores = logits.gather(1, chosen).sigmoid()
    total = scores.sum(-1, keepdim=True) + 1e-20
    along = (d_gates * scores).sum(-1, keepdim=True) / total  # the part that would change the sum, which is fixed
    d_chosen = ctx.factor / total * (d_gates - along) * scores * (1 - scores)
    return torch.zeros_like(logits).scatter(1, chosen, d_chosen), None, None, None


_choose.register_autograd(_gradient, setup_context=_save)


def _formula(logits: Tensor, bias: Tensor, active: int, factor: float) -> tuple[Tensor, Tensor]:
    scores = logits.sigmoid()
    chosen = (scores + bias).topk(active).indices
    gates = scores.gather(1, chosen)
    return gates / (gates.sum(-1, keepdim=True) + 1e-20) * factor, chosen

"""What the paper did not do: matrix products on FP8 numbers, which its preliminary study found risky (section 2.4.3).

The usual recipe, imitated: every factor of a product is rounded to E4M3, activations and gradients in tiles of 1×128,
weights in blocks of 128×128; the product of the rounded factors is formed as usual. All linear layers of attention and
feed-forward and all experts take part; embedding, head, router, norms and attention's own products stay as they are.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from k2lib.memory import dequantize_fp8, quantize_fp8
from k2lib.model.moe import Experts, alignment, rows_by_expert, sum_rows

ROWS, BLOCKS = (1, 128), (128, 128)


def rounded(x: Tensor, tile: tuple[int, int] = ROWS) -> Tensor:
    """x as FP8 gives it back."""
    q, scale = quantize_fp8(x, tile)
    return dequantize_fp8(q, scale, x.dtype, tile)


class Rounded(torch.autograd.Function):
    """apply(x, tile): the rounded factor of a product; its gradient passes as it is."""

    @staticmethod
    def forward(ctx, x, tile):
        return rounded(x, tile)

    @staticmethod
    def backward(ctx, d):
        return d, None


class RoundedBackwards(torch.autograd.Function):
    """apply(y): a product's result as it is; the gradient that enters the two products behind it is rounded."""

    @staticmethod
    def forward(ctx, y):
        return y.view_as(y)

    @staticmethod
    def backward(ctx, d):
        return rounded(d.contiguous())


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """x @ weight.T with both factors, and in the backward pass the gradient, rounded to FP8."""
    return RoundedBackwards.apply(F.linear(Rounded.apply(x, ROWS), Rounded.apply(weight, BLOCKS)))


def experts(x: Tensor, gate_up_proj: Tensor, down_proj: Tensor, gates: Tensor, chosen: Tensor) -> Tensor:
    """A dispatch of `Experts` whose two grouped products are on FP8 numbers."""
    token, weight, place, ends = rows_by_expert(gates, chosen, gate_up_proj.shape[0], alignment(x))

    def product(rows: Tensor, weights: Tensor) -> Tensor:
        factor = Rounded.apply(weights, BLOCKS).to(rows.dtype).transpose(1, 2)
        return RoundedBackwards.apply(F.grouped_mm(Rounded.apply(rows, ROWS), factor, offs=ends))

    gate, up = product(x.index_select(0, token), gate_up_proj).chunk(2, dim=-1)
    weighed = F.silu(gate) * up * weight.to(x.dtype)
    return sum_rows(product(weighed, down_proj), place)


def compute_in_fp8(model: nn.Module) -> nn.Module:
    """The same model, its products from now on in FP8."""
    for name, module in model.named_modules():
        if isinstance(module, Experts):
            module.dispatch = experts
        elif isinstance(module, nn.Linear) and name != "lm_head":
            module.forward = lambda x, module=module: linear(x, module.weight)
    return model

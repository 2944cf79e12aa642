"""RMSNorm in fp32, handed on in the precision that the next matrix product will use.

Written as one autograd function: PyTorch has no fused CPU kernel for it, and the composed one keeps four copies of its
input for the backward pass. This one keeps the input, which the residual stream holds anyway, and one number a token.
"""

import torch
from torch import Tensor, nn

from k2lib.model.regions import region


def compute_dtype(x: Tensor) -> torch.dtype:
    """The dtype of matrix products here: autocast's where it is on, else x's own."""
    kind = x.device.type
    mixed = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return torch.get_autocast_dtype(kind) if mixed else x.dtype


class Normalise(torch.autograd.Function):
    """apply(x [N, D], weight [D], eps, dtype) -> weight · x / √(mean x² + ε) as [N, D] of `dtype`."""

    @staticmethod
    def forward(ctx, x, weight, eps, dtype):
        wide = x.float()
        inverse = (torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_().div_(x.shape[-1]) + eps).rsqrt_()
        ctx.save_for_backward(x, weight, inverse)
        # A view: PyTorch 2.11 compiled gives no gradient to what an in-place product returns as it is.
        return (wide * inverse).mul_(weight).to(dtype).view(x.shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, d_output):
        x, weight, inverse = ctx.saved_tensors
        unit, d_output = x.float() * inverse, d_output.float()
        d_weight = (d_output * unit).sum(0)
        d_unit = d_output * weight
        along = (d_unit * unit).mean(-1, keepdim=True)  # the part that only changes the length, which the norm removes
        d_x = d_unit.addcmul_(unit, along, value=-1).mul_(inverse)
        return d_x.to(x.dtype), d_weight.to(weight.dtype), None, None


class RMSNorm(nn.Module):
    def __init__(self, width: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:  # [..., D]
        if not torch.is_grad_enabled():
            return self.reference(x.float()).to(compute_dtype(x))
        return region("norm", self._normalise, x)

    def _normalise(self, x: Tensor) -> Tensor:
        return Normalise.apply(x.flatten(0, -2), self.weight, self.eps, compute_dtype(x)).view(x.shape)

    def reference(self, x: Tensor) -> Tensor:
        """The same in one line, in x's own precision."""
        return self.weight * x * (x.square().mean(-1, keepdim=True) + self.eps).rsqrt()

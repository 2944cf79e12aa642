"""Rotary positions, and YaRN's way of stretching them to longer contexts.

Half of the pairs turn fast and encode order among neighbours; half turn slowly and run out of trained angles first.
YaRN leaves the fast pairs alone, divides the speed of the slow ones by the factor, and blends in between. K2 trains at
4k and 32k and uses YaRN for 128k (section 2.5). What surprises: K2's released config sets beta_fast = beta_slow = 1, a
blend one pair wide.
"""

import math

import torch
from torch import Tensor

from k2lib.config import K2Config, YaRN


def inverse_frequencies(config: K2Config) -> Tensor:
    """[R/2] radians per position of each pair, fp32."""
    width = config.qk_rope_head_dim
    exponents = torch.arange(0, width, 2, dtype=torch.float32) / width
    plain = 1.0 / config.rope_theta**exponents
    if config.yarn is None:
        return plain
    yarn = config.yarn
    low, high = (
        _pair_turning(beta, width, config.rope_theta, yarn.original_max_position_embeddings)
        for beta in (yarn.beta_fast, yarn.beta_slow)
    )
    low, high = max(math.floor(low), 0), min(math.ceil(high), width - 1)
    blend = ((torch.arange(width // 2, dtype=torch.float32) - low) / max(high - low, 0.001)).clamp(0, 1)
    return plain * (1 - blend) + plain / yarn.factor * blend


def rotation(config: K2Config, frequencies: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin, each [..., R/2] fp32, for integer positions [...]."""
    angles = positions.float().unsqueeze(-1) * frequencies
    scale = _magnitude(config.yarn)
    return angles.cos() * scale, angles.sin() * scale


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the interleaved pairs (x0, x1), (x2, x3), … of x [..., R]; the result holds first members, then second ones.

    So the order of the result differs from that of the input. Queries and keys are reordered alike, and their products,
    all that attention sees, are those of the usual layout.
    """
    first, second = x[..., 0::2].float(), x[..., 1::2].float()
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x.dtype)


def _pair_turning(turns: float, width: int, theta: float, length: int) -> float:
    """Index of the pair that turns this many times over the original context."""
    return width * math.log(length / (turns * 2 * math.pi)) / (2 * math.log(theta))


def _magnitude(yarn: YaRN | None) -> float:
    if yarn is None or yarn.factor <= 1:
        return 1.0
    grow = 0.1 * math.log(yarn.factor)
    if yarn.mscale and yarn.mscale_all_dim:
        return (grow * yarn.mscale + 1) / (grow * yarn.mscale_all_dim + 1)
    return grow + 1

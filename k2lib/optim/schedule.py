"""Warm-up, stable, decay (§2.5): linear to the peak, constant, then a cosine down to a tenth.

K2: 500 steps of warm-up to 2e-4, constant for the first 10 of 15.5 trillion tokens, cosine to 2e-5 for the rest.
"""

import math


def wsd(step: int, *, lr: float, warmup: int, total: int, decay: float = 5.5 / 15.5, final: float = 0.1) -> float:
    """Learning rate of `step` (from 0) in a run of `total` steps; the last `decay` share falls to `final` · lr."""
    if not 0 <= warmup <= total:
        raise ValueError(f"warmup is {warmup} steps in a run of {total}; it must lie between 0 and the run's length")
    if step < warmup:
        return lr * (step + 1) / warmup
    start = max(warmup, round(total * (1 - decay)))
    if step < start:
        return lr
    progress = min(1.0, (step - start + 1) / max(1, total - start))
    return lr * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress)))

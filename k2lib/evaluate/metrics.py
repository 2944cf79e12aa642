"""Metrics that carry their uncertainty: a share without an interval says little about fifty questions."""

import math

import numpy as np


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased chance that at least one of k samples is right, given c right ones among n: 1 − C(n−c, k)/C(n, k).

    ValueError unless 0 ≤ c ≤ n and 1 ≤ k ≤ n.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass@k needs 0 <= c <= n and 1 <= k <= n, got n = {n}, c = {c}, k = {k}")
    if n - c < k:
        return 1.0
    return 1.0 - math.exp(math.fsum(math.log1p(-k / i) for i in range(n - c + 1, n + 1)))


def wilson(successes: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval of a share; sensible at 0 and 1, unlike the normal one. (0, 1) if nothing was asked."""
    if n == 0:
        return 0.0, 1.0
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_interval(values: list[float], *, seed: int = 0, draws: int = 4000) -> tuple[float, float, float]:
    """Mean of the values and its 95% bootstrap interval (mean, low, high); ValueError if there are none."""
    if not len(values):
        raise ValueError("a mean needs at least one value")
    values = np.asarray(values, dtype=float)
    picks = np.random.default_rng(seed).integers(0, len(values), (draws, len(values)))
    low, high = np.percentile(values[picks].mean(1), [2.5, 97.5])
    return float(values.mean()), float(low), float(high)


def paired_difference(before: list[float], after: list[float], **bootstrap) -> tuple[float, float, float]:
    """Mean of after − before over the same items, and its 95% bootstrap interval (mean, low, high)."""
    if len(before) != len(after) or not before:
        raise ValueError(f"a paired difference needs the same items on both sides, got {len(before)} and {len(after)}")
    return mean_interval([late - early for early, late in zip(before, after, strict=True)], **bootstrap)

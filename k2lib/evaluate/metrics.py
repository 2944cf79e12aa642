"""pass@k; intervals of shares and differences are k2lib.intervals'."""

import math


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased chance that at least one of k samples is right, given c right ones among n: 1 − C(n−c, k)/C(n, k).

    ValueError unless 0 ≤ c ≤ n and 1 ≤ k ≤ n.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass@k needs 0 <= c <= n and 1 <= k <= n, got n = {n}, c = {c}, k = {k}")
    if n - c < k:
        return 1.0
    return 1.0 - math.exp(math.fsum(math.log1p(-k / i) for i in range(n - c + 1, n + 1)))

"""pass@k: how often at least one of k answers is right, from n of them (arXiv 2107.03374)."""

import math
from collections.abc import Sequence


def pass_at(k: int, solved: Sequence[int], of: int) -> list[float]:
    """[problem] the chance that k answers, drawn without replacement from `of`, hold one of those that were right.

    ValueError for k beyond the number of answers, or more right than there are.
    """
    if not 1 <= k <= of or any(not 0 <= count <= of for count in solved):
        raise ValueError(
            f"pass@{k} of {of} answers with {list(solved)[:8]} right; k and each count lie within their number"
        )
    return [1 - math.comb(of - count, k) / math.comb(of, k) for count in solved]

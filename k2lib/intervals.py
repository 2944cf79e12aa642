"""How sure a measured number is: one function, which chooses the interval by what the raw values are.

    interval([0.01, -0.02, 0.03], "seeds")           # Student's t over the seeds
    interval([2.1, 1.9, 2.3], "items")               # the same over items
    interval([1, 0, 1, 1], "shares")                 # Wilson's interval of a share
    interval([[0, 1, 0], [1, 1, 0]], "pairs")        # [seed][item] differences: bootstrap over items and seeds
    interval(31.69, "number")                        # counted or computed exactly: it has none

One seed has a mean and no interval.
"""

from dataclasses import dataclass

import numpy as np

KINDS = ("number", "seeds", "items", "shares", "pairs")
DRAWS = 4000  # bootstrap samples


@dataclass(frozen=True)
class Interval:
    """A mean with the ends of its interval (None where it has none), the sample size and what kind it is, in words."""

    value: float
    low: float | None
    high: float | None
    n: int  # seeds or items; 1 for a number
    kind: str
    over_seeds: bool = False  # n counts seeds


def interval(values: float | list, of: str, level: float = 0.95) -> Interval:
    """The mean of raw values and its two-sided interval.

    `of` says what the values are: "number" (one number), "seeds" or "items" (one number a seed or item, of any size),
    "shares" (one outcome in [0, 1] an item), "pairs" (differences [seed][item], the same items for every seed). One seed
    has a mean and no interval.
    ValueError for another `of`, for values that are empty, not finite or not of that form.
    """
    if of not in KINDS:
        raise ValueError(f"values are one of {', '.join(KINDS)}, not {of!r}")
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{of} must be numbers, rows of equal length where there are rows, got {values!r}") from error
    dimensions = {"number": 0, "pairs": 2}.get(of, 1)
    if array.ndim != dimensions or not array.size or not np.isfinite(array).all():
        raise ValueError(f"{of} are finite numbers with {dimensions} dimensions, at least one; got {values!r}")
    if of == "number":
        return Interval(float(array), None, None, 1, "counted")
    if of == "pairs":
        return _pairs(array, level)
    return _shares(array, level) if of == "shares" else _student(array, level, of)


def share(outcomes: list[float]) -> tuple[float, float, float]:
    """(share, low, high) of outcomes with Wilson's interval at 95%; (0, 0, 1) if nothing was asked."""
    if not len(outcomes):
        return 0.0, 0.0, 1.0
    found = interval(outcomes, "shares")
    return found.value, found.low, found.high


def _student(array: np.ndarray, level: float, of: str) -> Interval:
    from scipy import stats

    mean, n = float(array.mean()), len(array)
    if n == 1:
        return Interval(mean, None, None, 1, f"one {of[:-1]}", of == "seeds")
    half = float(stats.t.ppf((1 + level) / 2, n - 1) * array.std(ddof=1) / n**0.5)
    return Interval(mean, mean - half, mean + half, n, f"{level:.0%}, Student's t over {of}", of == "seeds")


def _shares(array: np.ndarray, level: float) -> Interval:
    """Wilson's: sensible at 0 and 1, unlike the normal one."""
    from scipy import stats

    if array.min() < 0 or array.max() > 1:
        raise ValueError(f"shares are outcomes between 0 and 1, got {array.min():g} to {array.max():g}")
    n, share, z = len(array), float(array.mean()), float(stats.norm.ppf((1 + level) / 2))
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half), n, f"{level:.0%}, Wilson over items")


def _pairs(array: np.ndarray, level: float) -> Interval:
    """Seeds and items are drawn independently, since every seed met the same items; n counts the seeds."""
    seeds, items = array.shape
    generator = np.random.default_rng(0)
    means = np.empty(DRAWS)
    for draw in range(DRAWS):
        rows, columns = generator.integers(0, seeds, seeds), generator.integers(0, items, items)
        means[draw] = array[rows].mean(0)[columns].mean()
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    over = "items and seeds" if seeds > 1 else "the items of one seed"
    return Interval(float(array.mean()), float(low), float(high), seeds, f"{level:.0%}, bootstrap over {over}", True)


def columns(groups: list[list], of: str, level: float = 0.95, scale: float = 1.0) -> dict[str, list[float]]:
    """{"value", "low", "high"}: the intervals of several groups of raw values as `figures.bars` draws them, times `scale`.

    A group that has no interval, such as one seed, has its value as both ends.
    """
    found = [interval(values, of, level) for values in groups]
    ends = {end: [getattr(one, end) for one in found] for end in ("value", "low", "high")}
    whole = {end: [one.value if x is None else x for x, one in zip(ends[end], found, strict=True)] for end in ends}
    return {end: [scale * x for x in xs] for end, xs in whole.items()}

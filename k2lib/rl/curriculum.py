"""Which problems an iteration plays: K2 takes those of moderate difficulty, k1.5 also their order (section 3.2.1; k1.5, 2.3.4).

Difficulty is the rate at which the policy solves a problem: measured before training, and again whenever it is played.
"""

import random

SAMPLING = ("uniform", "curriculum", "prioritised")


def moderate(rates: list[float], least: int) -> tuple[list[int], int]:
    """(problems to train on, how many of them are solved sometimes): neither always nor never, filled up with others to `least`."""
    some = [i for i, rate in enumerate(rates) if 0 < rate < 1]
    others = [i for i, rate in enumerate(rates) if not 0 < rate < 1]
    return some + others[: max(0, least - len(some))], len(some)


def choose(
    sampling: str,
    pool: list[int],
    first: list[float],
    now: list[float],
    count: int,
    drawn: int,
    share: float,
    seed: int,
) -> list[int]:
    """The next `count` problems of the pool, after `drawn` others, a `share` of the training done; nothing else decides.

    `first` and `now` are each problem's rate of success, before training and lately. "uniform" goes through the pool, shuffled
    anew each time round. "curriculum" draws from half of the pool, which slides from the easiest to the hardest problems.
    "prioritised" draws by 1 − rate. ValueError for another `sampling`.
    """
    if sampling == "uniform":
        return [_nth(pool, place, seed) for place in range(drawn, drawn + count)]
    rng = random.Random(f"rl/{seed}/drawn/{drawn}")
    if sampling == "curriculum":
        ordered, width = sorted(pool, key=lambda i: (-first[i], i)), min(len(pool), max(count, -(-len(pool) // 2)))
        at = round((len(pool) - width) * share)
        return rng.sample(ordered[at : at + width], min(count, width))
    if sampling == "prioritised":
        # the keys of Efraimidis and Spirakis: a draw without replacement by weight
        keys = {i: rng.random() ** (1 / max(1 - now[i], 1e-3)) for i in pool}
        return sorted(pool, key=keys.__getitem__, reverse=True)[:count]
    raise ValueError(f"unknown sampling {sampling!r}; choose one of {', '.join(SAMPLING)}")


def _nth(pool: list[int], place: int, seed: int) -> int:
    """The problem at a place of the pool's shuffled copies, one after another."""
    turn, at = divmod(place, len(pool))
    return random.Random(f"rl/{seed}/{turn}").sample(pool, len(pool))[at]

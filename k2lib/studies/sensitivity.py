"""What spikes would the detector have found? Planted ones, in a real training's losses (for the paper's Figure 3).

A count of no spikes says something only beside the height of those that it would have counted.
"""

from k2lib.studies.spikes import count_spikes

EVERY, FIRST = 40, 60  # steps between planted spikes, and before the first: the detector looks back fifty
HALF_LIFE = 3.0  # steps in which a planted spike has fallen to a half


def planted(losses: list[float], height: float, at: int) -> list[float]:
    """The losses with a spike that rises by `height` nats in step `at` and fades."""
    return [loss + height * 0.5 ** ((i - at) / HALF_LIFE) * (i >= at) for i, loss in enumerate(losses)]


def found_share(losses: list[float], height: float) -> float:
    """Of spikes of that height, planted one at a time, the share that raise the count. ValueError for too few losses."""
    places = range(FIRST, len(losses), EVERY)
    if not places:
        raise ValueError(f"{len(losses)} losses are too few to plant a spike; a training has more than {FIRST} steps")
    quiet = count_spikes(losses)
    return sum(count_spikes(planted(losses, height, at)) > quiet for at in places) / len(places)

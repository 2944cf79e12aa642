"""Where the words of a figure's points stand so that none hides another: boxes in pixels, the least overlap first."""

import math

LINE = 16  # pixels of a line of words
PLACES = (
    "middle right",
    "middle left",
    "top right",
    "bottom right",
    "top left",
    "bottom left",
    "top center",
    "bottom center",
)
LETTER, MARKER = 7.0, 6  # pixels of a letter, generously, and of half a marker with some room


def place_words(points: list[tuple[float, float, str]], width: float, height: float) -> list[str]:
    """Where the word of each point (x, y in pixels from the lower left corner) stands so that least lies over another."""
    taken = [(x - MARKER, y - MARKER, x + MARKER, y + MARKER) for x, y, _ in points]
    chosen = []
    for x, y, word in points:
        boxes = {place: _box(x, y, LETTER * (len(word) + 2), place) for place in PLACES}
        costs = {
            place: sum(_shared(box, other) for other in taken) + _outside(box, width, height)
            for place, box in boxes.items()
        }
        best = min(PLACES, key=costs.__getitem__)
        taken.append(boxes[best])
        chosen.append(best)
    return chosen


def pixels(groups: dict, spans: list, logs: tuple, size: tuple) -> list[tuple[float, float, str]]:
    """Every point of the groups in pixels of a plot that shows `spans`, with its word."""
    found = []
    for group in groups.values():
        for *point, word in zip(group["x"], group["y"], group["text"], strict=True):
            at = [math.log10(value) if log else value for value, log in zip(point, logs, strict=True)]
            x, y = ((v - low) / (high - low) * side for v, (low, high), side in zip(at, spans, size, strict=True))
            found.append((x, y, word))
    return found


def _box(x: float, y: float, wide: float, place: str) -> tuple[float, float, float, float]:
    """(left, bottom, right, top) of a word at a point."""
    down, across = place.split()
    left = {"right": x + MARKER, "left": x - MARKER - wide, "center": x - wide / 2}[across]
    bottom = {"top": y + MARKER, "bottom": y - MARKER - LINE, "middle": y - LINE / 2}[down]
    return left, bottom, left + wide, bottom + LINE


def _shared(one: tuple, other: tuple) -> float:
    """Area of two boxes that overlap."""
    wide, tall = (min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (0, 1))
    return max(wide, 0) * max(tall, 0)


def _outside(box: tuple, width: float, height: float) -> float:
    """How far a box leaves the plot, weighed like a large overlap."""
    return 100 * sum(max(edge, 0) for edge in (-box[0], -box[1], box[2] - width, box[3] - height))

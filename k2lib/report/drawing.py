"""The strokes that figures are made of, in one style. Colours are Okabe and Ito's, told apart by colour-blind readers."""

import itertools
import math
import textwrap
from collections.abc import Sequence
from operator import itemgetter

import plotly.graph_objects as go

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
WIDTH, HEIGHT, TOP, BOTTOM, LEFT = 720, 370, 56, 55, 70
FONT = {"family": "DejaVu Sans, Verdana, sans-serif", "size": 12}
LETTER, LINE = 7, 16  # pixels that a letter and a line of ticks take, a little generously
MOST_POINTS = 150  # of one line; more are thinned
GAP = 15 / (HEIGHT - TOP - BOTTOM)  # between two labels, as a share of the axis


def runs(lines: Sequence) -> list[list[float]]:
    """One line or several seeds' lines, as a list of runs."""
    return [list(run) for run in lines] if lines and isinstance(lines[0], list | tuple) else [list(lines)]


def mean(runs: list[list[float]]) -> list[float]:
    """Step by step over the runs that have a value there, as far as the shortest goes."""
    shortest = min(len(run) for run in runs)
    columns = ([run[step] for run in runs if run[step] is not None] for step in range(shortest))
    return [sum(column) / len(column) if column else None for column in columns]


def last(values: list) -> float:
    return next((value for value in reversed(values) if value is not None), 0.0)


def line(figure: go.Figure, xs: list, ys: list, name: str, colour: str, width: float, dash: str = "solid") -> None:
    xs, ys = thin(xs, ys)
    look = {"color": colour, "width": width, "dash": dash}
    figure.add_scatter(x=xs, y=ys, name=name, mode="lines", line=look, showlegend=False)


def thin(xs: list, ys: list) -> tuple[list, list]:
    """At most MOST_POINTS points: evenly spaced ones, and the lowest and highest, which a reader looks for."""
    count = min(len(xs), len(ys))
    if count <= MOST_POINTS:
        return list(xs[:count]), list(ys[:count])
    known = [step for step in range(count) if ys[step] is not None]
    keep = {round(place * (count - 1) / (MOST_POINTS - 3)) for place in range(MOST_POINTS - 2)}
    keep |= {min(known, key=ys.__getitem__), max(known, key=ys.__getitem__)} if known else set()
    return [xs[step] for step in sorted(keep)], [ys[step] for step in sorted(keep)]


def span(values: list, log: bool) -> tuple[float, float]:
    """The ends of an axis that shows all values, with some room; exponents of ten on a logarithmic one."""
    known = [value for value in values if value is not None and (value > 0 or not log)] or [0.1, 1.0]
    low, high = min(known), max(known)
    if log:
        low, high = math.log10(low), math.log10(high)
    margin = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
    return low - margin, high + margin


def end_labels(figure: go.Figure, labels: list[tuple[str, str, float]], low: float, high: float, log: bool) -> int:
    """Writes each line's name beside its right end, pushed apart where they would overlap; returns the margin in px."""
    places = []
    for text, colour, value in labels:
        value = math.log10(value) if log and value > 0 else value
        places.append([min(max((value - low) / (high - low), 0.0), 1.0), text, colour])
    places.sort(key=itemgetter(0))
    for below, above in itertools.pairwise(places):
        above[0] = max(above[0], below[0] + GAP)
    if places and places[-1][0] > 1.0:
        ceiling = 1.0
        for place in reversed(places):
            place[0] = min(place[0], ceiling)
            ceiling = place[0] - GAP
    look = {"x": 1.0, "xref": "paper", "yref": "paper", "showarrow": False, "xanchor": "left", "xshift": 6}
    for place, text, colour in places:
        figure.add_annotation(y=place, text=text, font={"color": colour, "size": 11}, **look)
    return 20 + int(6.8 * max((len(text) for _, text, _ in places), default=0))


def bar(values: object) -> dict:
    """A bar's values as {"value": […]}, with "low" and "high" where they were given."""
    return values if isinstance(values, dict) else {"value": list(values)}


def whiskers(bar: dict) -> dict | None:
    """plotly's error bars from low to high."""
    if "low" not in bar:
        return None
    triples = list(zip(bar["value"], bar["low"], bar["high"], strict=True))
    up, down = [max(high - value, 0) for value, _, high in triples], [max(value - low, 0) for value, low, _ in triples]
    look = {"type": "data", "symmetric": False, "thickness": 1.2, "width": 3, "color": "#333333"}
    return look | {"array": up, "arrayminus": down}


def categories(figure: go.Figure, labels: list[str]) -> None:
    """Every label whole beneath its place: broken into lines where there is room for words, else upright; the figure grows."""
    wide = int((WIDTH - LEFT - 20) / max(1, len(labels)) / LETTER)
    if all(len(word) <= wide for label in labels for word in str(label).split()):
        lines = [textwrap.wrap(str(label), wide) or [""] for label in labels]
        texts, angle, more = ["<br>".join(words) for words in lines], 0, LINE * (max(map(len, lines)) - 1)
    else:
        texts, angle, more = list(labels), -90, LETTER * max(len(str(label)) for label in labels)
    figure.update_xaxes(ticktext=texts, tickangle=angle)
    figure.update_layout(height=HEIGHT + more, margin={"b": BOTTOM + more})


def stroke(figure: go.Figure, place: int, value: float, height: float) -> None:
    """The paper's number as a dashed stroke over a bar; `height` is where its label stands on the axis."""
    dashed = {"color": "#333333", "width": 1.5, "dash": "dash"}
    figure.add_shape(type="line", x0=place - 0.45, x1=place + 0.45, y0=value, y1=value, line=dashed)
    look = {"showarrow": False, "xanchor": "right", "yanchor": "bottom", "font": {"size": 10, "color": "#333333"}}
    figure.add_annotation(x=place + 0.45, y=height, text=f"paper {value:g}", **look)


def style(figure: go.Figure, title: str, x: str, y: str, right: int) -> None:
    """Titles, axes and margins."""
    at = {"x": 0, "xref": "paper", "y": 1, "yref": "paper", "xanchor": "left", "yanchor": "bottom", "showarrow": False}
    figure.add_annotation(text=f"<b>{title}</b>", yshift=26, font={"size": 14, "color": "#222222"}, **at)
    margin = {"l": LEFT, "r": right, "t": TOP, "b": BOTTOM}
    size = {"width": WIDTH, "height": HEIGHT, "autosize": False, "margin": margin, "font": FONT}
    figure.update_layout(plot_bgcolor="white", paper_bgcolor="white", hovermode="closest", **size)
    axis = {"showline": True, "linecolor": "#888888", "ticks": "outside", "gridcolor": "#eeeeee", "zeroline": False}
    figure.update_xaxes(title_text=x, title_font_size=12, **axis)
    figure.update_yaxes(title_text=y, title_font_size=12, **axis)

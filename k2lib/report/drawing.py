"""The strokes that figures are made of, in one style. Colours are Okabe and Ito's, told apart by colour-blind readers."""

import itertools
import math
import textwrap
from operator import itemgetter

import plotly.graph_objects as go

from k2lib.report.words import LINE

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
GREY, INK = "#555555", "#222222"
WIDTH, HEIGHT, TOP, BOTTOM, LEFT = 720, 370, 62, 55, 70
FONT = {"family": "DejaVu Sans, Verdana, sans-serif", "size": 12}
ROW = 15  # pixels of one bar
WORDS = 30  # letters of a row's label before it is broken
MOST_POINTS = 2000  # of one line, or of many thin ones together
GAP = 17 / (HEIGHT - TOP - BOTTOM)  # between two labels, as a share of the axis
LEGEND = {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "xanchor": "left"}
POWERS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def runs(lines: list) -> list[list[float]]:
    """One line or several seeds' lines, as a list of runs."""
    return [list(run) for run in lines] if lines and isinstance(lines[0], list | tuple) else [list(lines)]


def mean(runs: list[list[float]]) -> list[float]:
    """Step by step over the runs that have a value there, as far as the shortest goes."""
    columns = ([value for value in column if value is not None] for column in zip(*runs, strict=False))
    return [sum(column) / len(column) if column else None for column in columns]


def last(values: list) -> float:
    return next((value for value in reversed(values) if value is not None), 0.0)


def line(
    figure: go.Figure,
    xs: list,
    ys: list,
    name: str,
    colour: str,
    width: float,
    limit: int = MOST_POINTS,
    dash: str = "solid",
) -> None:
    xs, ys = thin(xs, ys, limit)
    look = {"color": colour, "width": width, "dash": dash}
    figure.add_scatter(x=xs, y=ys, name=name, mode="lines", line=look, showlegend=False)


def band(figure: go.Figure, xs: list, runs: list[list[float]], colour: str) -> None:
    """From the lowest of the runs to the highest, where there are several."""
    if len(runs) < 2:
        return
    columns = [[value for value in column if value is not None] or [None] for column in zip(*runs, strict=False)]
    look = {"mode": "lines", "line": {"width": 0}, "showlegend": False, "hoverinfo": "skip"}
    figure.add_scatter(x=xs, y=list(map(min, columns)), **look)
    figure.add_scatter(x=xs, y=list(map(max, columns)), fill="tonexty", fillcolor=faint(colour), **look)


def faint(colour: str) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.2)"


def thin(xs: list, ys: list, limit: int = MOST_POINTS) -> tuple[list, list]:
    """At most `limit` points: evenly spaced ones, and the lowest and highest, which a reader looks for."""
    count = min(len(xs), len(ys))
    if count <= limit:
        return list(xs[:count]), list(ys[:count])
    known = [step for step in range(count) if ys[step] is not None]
    keep = {round(place * (count - 1) / (limit - 3)) for place in range(limit - 2)}
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


def short(value: float) -> str:
    """A number as people write it: 1,026 · 31.7 · 0.012 · 3.3×10⁻⁶."""
    if value and abs(value) < 1e-3:
        power = math.floor(math.log10(abs(value)))
        return f"{value / 10**power:.2g}×10{str(power).translate(POWERS)}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{float(f'{value:.3g}'):g}"


def decades(low: float, high: float, log: bool) -> dict:
    """The ticks of a logarithmic axis between two exponents: powers of ten, and 2 and 5 between them where few are seen."""
    if not log:
        return {}
    steps = (1,) if high - low > 2 else (1, 2, 5)
    powers = range(math.floor(low), math.ceil(high) + 1)
    values = [(step, power) for power in powers for step in steps if low <= power + math.log10(step) <= high]
    apart = -(-len(values) // 8)  # at most eight
    chosen = values[::apart]
    return {"tickvals": [step * 10.0**power for step, power in chosen], "ticktext": [_tick(*each) for each in chosen]}


def _tick(step: int, power: int) -> str:
    if power < -3:
        return f"10{str(power).translate(POWERS)}" if step == 1 else f"{step}×10{str(power).translate(POWERS)}"
    for letter, size in (("M", 6), ("k", 3)):
        if power >= size:
            return f"{step * 10 ** (power - size)}{letter}"
    return f"{step * 10.0**power:g}"


def ticks(values: list, log: bool) -> dict:
    """The ticks below a logarithmic axis of few values: each of them, 131072 as 128k."""
    if not log or len(values) > 12:
        return {}
    whole = all(value >= 1024 and value % 1024 == 0 for value in values)
    return {"tickvals": values, "ticktext": [f"{value // 1024}k" if whole else f"{value:g}" for value in values]}


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
    look = {
        "x": 1.0,
        "xref": "paper",
        "xanchor": "left",
        "xshift": 6,
        "yref": "paper",
        "yanchor": "middle",
        "showarrow": False,
    }
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
    triples = list(zip(bar["value"], bar["low"], bar["high"], strict=True))  # a whisker reaches to its value at least
    up, down = [max(high - value, 0) for value, _, high in triples], [max(value - low, 0) for value, low, _ in triples]
    look = {"type": "data", "symmetric": False, "thickness": 1.2, "width": 3, "color": "#333333"}
    return look | {"array": up, "arrayminus": down}


def rows(labels: list, bars: dict, share: bool, paper: dict[str, float], kind: type) -> go.Figure:
    """Groups of horizontal bars or dots, one group a label, each with its value beside it, and the paper's where it is known."""
    figure, groups = go.Figure(), len(bars)
    for number, (name, values) in enumerate(bars.items()):
        one, colour = bar(values), COLOURS[number % len(COLOURS)]
        offset = (number - (groups - 1) / 2) * 0.8 / groups
        places = [place + offset for place in range(len(labels))]
        look = {"width": 0.68 / groups, "marker_color": colour, "orientation": "h"}
        if kind is go.Scatter:
            look = {"mode": "markers", "marker": {"size": 9, "color": colour}}
        shown = {"showlegend": groups > 1, "hovertemplate": "%{x}<extra>" + str(name) + "</extra>"}
        figure.add_trace(kind(x=one["value"], y=places, name=name, error_x=whiskers(one), **look, **shown))
        words = ["" if value is None else f"{value:.0%}" if share else short(value) for value in one["value"]]
        words = [
            f"  {word}, paper {paper[label]:g}" if label in paper else f"  {word}"
            for word, label in zip(words, labels, strict=True)
        ]
        ends = [
            None if end is None else max(end, paper.get(label, end))
            for end, label in zip(one.get("high", one["value"]), labels, strict=True)
        ]
        beside = {"mode": "text", "textposition": "middle right", "showlegend": False, "hoverinfo": "skip"}
        figure.add_scatter(
            x=ends, y=places, text=words, textfont={"size": 11, "color": INK}, cliponaxis=False, **beside
        )
    for label, value in paper.items():
        place, dashed = labels.index(label), {"color": INK, "width": 1.5, "dash": "dash"}
        figure.add_shape(type="line", x0=value, x1=value, y0=place - 0.45, y1=place + 0.45, line=dashed)
    return figure


def style_rows(figure: go.Figure, title: str, unit: str, labels: list[str], groups: int) -> None:
    """Every label whole beside its row, broken into lines where it is long; the figure grows with its rows."""
    wrapped = [textwrap.wrap(str(label), WORDS, break_long_words=False) or [""] for label in labels]
    tall = max(ROW * groups + 8, LINE * max(map(len, wrapped)) + 2)
    style(figure, title, unit, "", right=30, height=TOP + BOTTOM + max(tall * len(labels), 60))
    ticks = {"tickvals": list(range(len(labels))), "ticktext": ["<br>".join(words) for words in wrapped]}
    figure.update_yaxes(range=[len(labels) - 0.5, -0.5], automargin=True, ticks="", showgrid=False, **ticks)


def level(figure: go.Figure, value: float, text: str, log: bool) -> None:
    """A labelled stroke across all rows."""
    figure.add_vline(x=value, line={"color": GREY, "width": 1.2, "dash": "dash" if text else "solid"})
    if text:
        at = {
            "x": math.log10(value) if log else value,
            "y": 1,
            "yref": "paper",
            "yanchor": "bottom",
            "showarrow": False,
        }
        figure.add_annotation(text=text, font={"size": 11, "color": GREY}, **at)


def style(figure: go.Figure, title: str, x: str, y: str, right: int, caption: str = "", height: int = HEIGHT) -> None:
    """Titles, a caption below the main one, axes, margins, the legend. The numbers are pixels."""
    heading = {"text": f"<b>{title}</b>", "font": {"size": 14, "color": INK}, "x": 0.012, "xref": "container"}
    heading |= {"y": 1, "yref": "container", "yanchor": "top", "pad": {"t": 10}}
    heading |= {"subtitle": {"text": caption, "font": {"size": 11, "color": GREY}}} if caption else {}
    figure.update_layout(title=heading)
    margin = {"l": LEFT, "r": right, "t": TOP, "b": BOTTOM}
    size = {"width": WIDTH, "height": height, "autosize": False, "margin": margin, "font": FONT, "legend": LEGEND}
    figure.update_layout(plot_bgcolor="white", paper_bgcolor="white", hovermode="closest", **size)
    axis = {"showline": True, "linecolor": "#888888", "ticks": "outside", "gridcolor": "#eeeeee", "zeroline": False}
    figure.update_xaxes(title_text=x, title_font_size=12, **axis)
    figure.update_yaxes(title_text=y, title_font_size=12, **axis)

"""One style of figure for the whole kit: axes with units, the paper's value as a dashed line, direct labels.

Every function takes the plain data that a ledger keeps, so that a committed reference of another machine is
drawn by the same call:

    {"x": [...], "lines": {"Muon": [y, y, …]}}                       one run a line
    {"x": [...], "lines": {"Muon": [[y, …], [y, …]]}}                several seeds: thin lines, their mean thick
    {"x": {"Muon": [...], "AdamW": [...]}, "lines": {…}}             each line its own x
    {"labels": ["raw", "FP8"], "bars": {"bytes": [3, 2]}}            bars; {"value": […], "low": […], "high": […]} too

This run is solid, reference runs are dotted in the same colour, and a line below the title says where they ran. Colours
are Okabe and Ito's, told apart by colour-blind readers.
"""

import itertools
import math
from collections.abc import Sequence

import plotly.graph_objects as go

from k2lib.report.results import Reference

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
DASHES = {"dot": "┈┈", "dashdot": "─·─", "longdash": "── ──"}  # of the references, in order, as lines …
MARKS = {"diamond": "◇", "square": "□", "triangle-up": "△"}  # … and on bars
WIDTH, HEIGHT, TOP, BOTTOM, LEFT = 720, 390, 76, 55, 70
FONT = {"family": "DejaVu Sans, Verdana, sans-serif", "size": 12}
MOST_POINTS = 150  # of one line; more are thinned


def curves(
    data: dict,
    *,
    x: str,
    y: str,
    title: str = "",
    references: Sequence[Reference] = (),
    paper: dict[str, float] | None = None,
    log_y: bool = False,
    log_x: bool = False,
) -> go.Figure:
    """Lines over a common axis. `x` and `y` are axis titles with units; `paper` maps a label to a dashed level."""
    paper = paper or {}
    figure, ends, every = go.Figure(), [], [value for value in paper.values()]
    for number, (name, runs) in enumerate(data["lines"].items()):
        colour, xs = COLOURS[number % len(COLOURS)], _xs(data, name)
        runs = _runs(runs)
        for run in runs if len(runs) > 1 else []:
            _line(figure, xs, run, name, colour, width=0.7)
        mean = _mean(runs)
        _line(figure, xs, mean, name, colour, width=2.2)
        ends.append((name, colour, mean))
        every += [value for run in runs for value in run]
        for which, reference in enumerate(references):
            if name in reference.data["lines"]:
                far = _mean(_runs(reference.data["lines"][name]))
                dash = list(DASHES)[which % len(DASHES)]
                _line(figure, _xs(reference.data, name), far, f"{name}, {reference.label}", colour, 1.4, dash)
                every += far
    low, high = _range(every, log_y)
    _level_lines(figure, paper, data, log_x)
    labels = [(name, colour, _last(values)) for name, colour, values in ends]
    labels += [(text, "#555555", value) for text, value in paper.items()]
    right = _end_labels(figure, labels, low, high, log_y)
    _style(figure, title, x, y, references, right)
    figure.update_yaxes(type="log" if log_y else "linear", range=[low, high])
    figure.update_xaxes(type="log" if log_x else "linear")
    return figure


def bars(
    data: dict,
    *,
    y: str,
    x: str = "",
    title: str = "",
    references: Sequence[Reference] = (),
    paper: dict[str, float] | None = None,
    log_y: bool = False,
) -> go.Figure:
    """Groups of bars, one group a label. `paper` maps a bar's label to the paper's number, drawn as a dashed stroke."""
    figure, labels, groups = go.Figure(), data["labels"], len(data["bars"])
    for number, (name, bar) in enumerate(data["bars"].items()):
        bar, colour = _bar(bar), COLOURS[number % len(COLOURS)]
        offset = (number - (groups - 1) / 2) * 0.8 / groups
        figure.add_bar(
            x=[place + offset for place in range(len(labels))],
            y=bar["value"],
            width=0.72 / groups,
            name=name,
            marker_color=colour,
            error_y=_whiskers(bar),
            showlegend=groups > 1,
            hovertemplate="%{y}<extra>" + name + "</extra>",
        )
        for which, reference in enumerate(references):
            if name in reference.data["bars"]:
                _reference_marks(figure, labels, offset, reference, name, colour, which)
    for label, value in (paper or {}).items():
        place = labels.index(label)
        figure.add_shape(
            type="line",
            x0=place - 0.45,
            x1=place + 0.45,
            y0=value,
            y1=value,
            line={"color": "#333333", "width": 1.5, "dash": "dash"},
        )
        figure.add_annotation(
            x=place + 0.45,
            y=math.log10(value) if log_y else value,
            text=f"paper {value:g}",
            showarrow=False,
            xanchor="right",
            yanchor="bottom",
            font={"size": 10, "color": "#333333"},
        )
    _style(figure, title, x, y, references, right=20)
    figure.update_xaxes(tickvals=list(range(len(labels))), ticktext=labels, range=[-0.6, len(labels) - 0.4])
    figure.update_yaxes(type="log" if log_y else "linear", **({} if log_y else {"rangemode": "tozero"}))
    figure.update_layout(legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1, "xanchor": "right"})
    return figure


def heatmap(
    values: Sequence[Sequence[float]],
    *,
    x: str,
    y: str,
    unit: str,
    title: str = "",
    columns: Sequence | None = None,
    rows: Sequence | None = None,
) -> go.Figure:
    """A matrix as colours: `values[row][column]`; `unit` names the colour bar."""
    figure = go.Figure(go.Heatmap(z=values, x=columns, y=rows, colorscale="Cividis", colorbar={"title": unit}))
    _style(figure, title, x, y, (), right=20)
    figure.update_yaxes(autorange="reversed")
    return figure


def timeline(spans: Sequence[dict], *, x: str, title: str = "") -> go.Figure:
    """Who did what when: each span is {"lane", "start", "end", "kind"}; a kind has one colour, a lane one row."""
    figure = go.Figure()
    for number, kind in enumerate(dict.fromkeys(span["kind"] for span in spans)):
        mine = [span for span in spans if span["kind"] == kind]
        figure.add_bar(
            orientation="h",
            name=kind,
            marker_color=COLOURS[number % len(COLOURS)],
            marker_line_width=0,
            y=[span["lane"] for span in mine],
            base=[span["start"] for span in mine],
            x=[span["end"] - span["start"] for span in mine],
        )
    _style(figure, title, x, "", (), right=20)
    figure.update_layout(
        barmode="overlay", legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1, "xanchor": "right"}
    )
    figure.update_yaxes(autorange="reversed", type="category")
    return figure


def _xs(data: dict, name: str) -> list:
    return data["x"][name] if isinstance(data["x"], dict) else data["x"]


def _runs(lines: Sequence) -> list[list[float]]:
    return [list(run) for run in lines] if lines and isinstance(lines[0], list | tuple) else [list(lines)]


def _mean(runs: list[list[float]]) -> list[float]:
    shortest = min(len(run) for run in runs)
    columns = ([run[step] for run in runs if run[step] is not None] for step in range(shortest))
    return [sum(column) / len(column) if column else None for column in columns]


def _last(values: list) -> float:
    return next((value for value in reversed(values) if value is not None), 0.0)


def _line(figure: go.Figure, xs: list, ys: list, name: str, colour: str, width: float, dash: str = "solid") -> None:
    xs, ys = _thin(xs, ys)
    figure.add_scatter(
        x=xs, y=ys, name=name, mode="lines", line={"color": colour, "width": width, "dash": dash}, showlegend=False
    )


def _thin(xs: list, ys: list) -> tuple[list, list]:
    """At most MOST_POINTS points: evenly spaced ones, and the lowest and highest, which a reader looks for."""
    count = min(len(xs), len(ys))
    if count <= MOST_POINTS:
        return list(xs[:count]), list(ys[:count])
    known = [step for step in range(count) if ys[step] is not None]
    keep = {round(place * (count - 1) / (MOST_POINTS - 3)) for place in range(MOST_POINTS - 2)}
    keep |= {min(known, key=ys.__getitem__), max(known, key=ys.__getitem__)} if known else set()
    return [xs[step] for step in sorted(keep)], [ys[step] for step in sorted(keep)]


def _range(values: list, log: bool) -> tuple[float, float]:
    known = [value for value in values if value is not None and (value > 0 or not log)] or [0.1, 1.0]
    low, high = min(known), max(known)
    if log:
        low, high = math.log10(low), math.log10(high)
    margin = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
    return low - margin, high + margin


def _level_lines(figure: go.Figure, paper: dict[str, float], data: dict, log_x: bool) -> None:
    xs = [value for name in data["lines"] for value in _xs(data, name) if value > 0 or not log_x]
    for text, value in paper.items():
        figure.add_scatter(
            x=[min(xs), max(xs)],
            y=[value, value],
            mode="lines",
            name=text,
            showlegend=False,
            line={"color": "#555555", "width": 1.3, "dash": "dash"},
        )


def _end_labels(figure: go.Figure, labels: list[tuple[str, str, float]], low: float, high: float, log: bool) -> int:
    """Writes each line's name beside its right end, pushed apart where they would overlap; returns the margin in px."""
    height = HEIGHT - TOP - BOTTOM
    gap = 15 / height  # of a label, as a share of the axis
    places = []
    for text, colour, value in labels:
        value = math.log10(value) if log and value > 0 else value
        places.append([min(max((value - low) / (high - low), 0.0), 1.0), text, colour])
    places.sort(key=lambda place: place[0])
    for below, above in itertools.pairwise(places):
        above[0] = max(above[0], below[0] + gap)
    excess = max(places[-1][0] - 1.0, 0.0) if places else 0.0
    for upper in range(len(places) - 1, -1, -1):
        ceiling = 1.0 if upper == len(places) - 1 else places[upper + 1][0] - gap
        places[upper][0] = min(places[upper][0], ceiling) if excess else places[upper][0]
    for place, text, colour in places:
        figure.add_annotation(
            x=1.0,
            xref="paper",
            y=place,
            yref="paper",
            text=text,
            showarrow=False,
            xanchor="left",
            xshift=6,
            font={"color": colour, "size": 11},
        )
    return 20 + int(6.8 * max((len(text) for _, text, _ in places), default=0))


def _bar(bar: object) -> dict:
    return bar if isinstance(bar, dict) else {"value": list(bar)}


def _whiskers(bar: dict) -> dict | None:
    if "low" not in bar:
        return None
    triples = list(zip(bar["value"], bar["low"], bar["high"], strict=True))
    return {
        "type": "data",
        "symmetric": False,
        "thickness": 1.2,
        "width": 3,
        "color": "#333333",
        "array": [max(high - value, 0) for value, _, high in triples],
        "arrayminus": [max(value - low, 0) for value, low, _ in triples],
    }


def _reference_marks(
    figure: go.Figure, labels: list, offset: float, reference: Reference, name: str, colour: str, which: int
) -> None:
    values = dict(zip(reference.data["labels"], _bar(reference.data["bars"][name])["value"], strict=True))
    places = [place for place, label in enumerate(labels) if label in values]
    figure.add_scatter(
        x=[place + offset for place in places],
        y=[values[labels[place]] for place in places],
        mode="markers",
        name=f"{name}, {reference.label}",
        showlegend=False,
        marker={
            "symbol": list(MARKS)[which % len(MARKS)],
            "size": 10,
            "color": "white",
            "line": {"color": colour, "width": 2},
        },
    )


def _style(figure: go.Figure, title: str, x: str, y: str, references: Sequence[Reference], right: int) -> None:
    marked = any(trace.type == "scatter" and trace.mode == "markers" for trace in figure.data)
    signs = MARKS.values() if marked else DASHES.values()
    where = " &nbsp; ".join(f"{sign} {reference.label}" for sign, reference in zip(signs, references, strict=False))
    for text, size, colour, shift in ((f"<b>{title}</b>", 14, "#222222", 46), (where, 11, "#555555", 26)):
        figure.add_annotation(
            text=text,
            x=0,
            xref="paper",
            y=1,
            yref="paper",
            xanchor="left",
            yanchor="bottom",
            yshift=shift,
            showarrow=False,
            font={"size": size, "color": colour},
        )
    figure.update_layout(
        width=WIDTH,
        height=HEIGHT,
        autosize=False,
        font=FONT,
        plot_bgcolor="white",
        paper_bgcolor="white",
        margin={"l": LEFT, "r": right, "t": TOP, "b": BOTTOM},
        hovermode="closest",
    )
    axis = {"showline": True, "linecolor": "#888888", "ticks": "outside", "gridcolor": "#eeeeee", "zeroline": False}
    figure.update_xaxes(title_text=x, title_font_size=12, **axis)
    figure.update_yaxes(title_text=y, title_font_size=12, **axis)

"""The figures of the kit: axes with units, the paper's value as a dashed line, direct labels (one style: `drawing`).

Every function takes plain data:

    curves([0, 1], {"Muon": [y, y]})                           one run a line
    curves([0, 1], {"Muon": [[y, y], [y, y]]})                 several seeds: thin lines, their mean thick
    bars(["raw", "FP8"], {"bytes": [3, 2]})                    or {"value": […], "low": […], "high": […]}
    points({"ours": {"x": [1], "y": [2], "text": ["a"]}})      points with a word each
"""

import math
from collections.abc import Sequence

import plotly.graph_objects as go

from k2lib.report import drawing
from k2lib.report.drawing import COLOURS

LEGEND = {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1, "xanchor": "right"}


def curves(
    xs: list,
    lines: dict,
    *,
    x: str,
    y: str,
    title: str = "",
    paper: dict[str, float] | None = None,
    log_y: bool = False,
    log_x: bool = False,
) -> go.Figure:
    """Lines over a common axis. `x` and `y` are axis titles with units; `paper` maps a label to a dashed level."""
    paper = paper or {}
    figure, labels, every = go.Figure(), [], list(paper.values())
    for number, (name, runs) in enumerate(lines.items()):
        colour, runs = COLOURS[number % len(COLOURS)], drawing.runs(runs)
        for run in runs if len(runs) > 1 else []:
            drawing.line(figure, xs, run, name, colour, width=0.7)
        mean = drawing.mean(runs)
        drawing.line(figure, xs, mean, name, colour, width=2.2)
        labels.append((name, colour, drawing.last(mean)))
        every += [value for run in runs for value in run]
    known = [value for value in xs if value > 0 or not log_x]
    for text, value in paper.items():
        drawing.line(figure, [min(known), max(known)], [value, value], text, "#555555", 1.3, "dash")
        labels.append((text, "#555555", value))
    low, high = drawing.span(every, log_y)
    right = drawing.end_labels(figure, labels, low, high, log_y)
    drawing.style(figure, title, x, y, right)
    figure.update_yaxes(type="log" if log_y else "linear", range=[low, high])
    figure.update_xaxes(type="log" if log_x else "linear")
    return figure


def bars(
    labels: list,
    bars: dict,
    *,
    y: str,
    x: str = "",
    title: str = "",
    paper: dict[str, float] | None = None,
    log_y: bool = False,
) -> go.Figure:
    """Groups of bars, one group a label. `paper` maps a bar's label to the paper's number, drawn as a dashed stroke."""
    figure, groups = go.Figure(), len(bars)
    for number, (name, bar) in enumerate(bars.items()):
        bar, colour = drawing.bar(bar), COLOURS[number % len(COLOURS)]
        offset = (number - (groups - 1) / 2) * 0.8 / groups
        places = [place + offset for place in range(len(labels))]
        look = {"width": 0.72 / groups, "marker_color": colour, "error_y": drawing.whiskers(bar)}
        shown = {"showlegend": groups > 1, "hovertemplate": "%{y}<extra>" + name + "</extra>"}
        figure.add_bar(x=places, y=bar["value"], name=name, **look, **shown)
    for label, value in (paper or {}).items():
        drawing.stroke(figure, labels.index(label), value, math.log10(value) if log_y else value)
    drawing.style(figure, title, x, y, right=20)
    figure.update_xaxes(tickvals=list(range(len(labels))), range=[-0.6, len(labels) - 0.4])
    drawing.categories(figure, labels)
    figure.update_yaxes(type="log" if log_y else "linear", **({} if log_y else {"rangemode": "tozero"}))
    figure.update_layout(legend=LEGEND)
    return figure


def points(
    groups: dict,
    *,
    x: str,
    y: str,
    title: str = "",
    lines: dict | None = None,
    log_x: bool = False,
    log_y: bool = False,
) -> go.Figure:
    """Single points with a word each, by group, over lines if there are any; "place" says where the words stand.

    points({"ours": {"x": [1], "y": [2], "text": ["recompute"]}}, lines={"roof": {"x": [1, 2], "y": [3, 3]}})
    """
    figure = go.Figure()
    for name, line in (lines or {}).items():
        drawing.line(figure, line["x"], line["y"], name, "#777777", 1.6)
        middle = len(line["x"]) // 2
        place = {"x": line["x"][middle], "y": line["y"][middle]}
        place = {axis: math.log10(place[axis]) if log else place[axis] for axis, log in (("x", log_x), ("y", log_y))}
        figure.add_annotation(text=name, showarrow=False, yshift=9, font={"color": "#777777", "size": 11}, **place)
    for number, (name, group) in enumerate(groups.items()):
        look = {"marker": {"size": 10, "color": COLOURS[number % len(COLOURS)], "symbol": number % 3}}
        look |= {"textposition": group.get("place", "middle right"), "textfont": {"size": 11}}
        at = {"x": group["x"], "y": group["y"], "text": [f" {text} " for text in group["text"]]}
        figure.add_scatter(**at, mode="markers+text", name=name, showlegend=len(groups) > 1, **look)
    drawing.style(figure, title, x, y, right=20)
    known = [value for group in groups.values() for value in group["x"]]
    low, high = drawing.span(known, log_x)
    room = 0.0 if lines else 0.3 * (high - low)  # for words
    figure.update_xaxes(type="log" if log_x else "linear", **({"range": [low - room, high + room]} if room else {}))
    figure.update_yaxes(type="log" if log_y else "linear")
    figure.update_layout(legend=LEGEND)
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
    drawing.style(figure, title, x, y, right=20)
    figure.update_yaxes(autorange="reversed", automargin=True)
    return figure


def timeline(spans: Sequence[dict], *, x: str, title: str = "") -> go.Figure:
    """Who did what when: each span is {"lane", "start", "end", "kind"}; a kind has one colour, a lane one row."""
    figure = go.Figure()
    for number, kind in enumerate(dict.fromkeys(span["kind"] for span in spans)):
        mine, colour = [span for span in spans if span["kind"] == kind], COLOURS[number % len(COLOURS)]
        lanes, starts = [span["lane"] for span in mine], [span["start"] for span in mine]
        widths = [span["end"] - span["start"] for span in mine]
        look = {"orientation": "h", "marker_color": colour, "marker_line_width": 0}
        figure.add_bar(name=kind, y=lanes, base=starts, x=widths, **look)
    drawing.style(figure, title, x, "", right=20)
    figure.update_layout(barmode="overlay", legend=LEGEND)
    figure.update_yaxes(autorange="reversed", type="category", automargin=True)
    return figure

"""The figures of the kit: axes with units, the paper's value as a labelled mark, direct labels (one style: `drawing`).

Every function takes plain data:

    curves([0, 1], {"Muon": [y, y]})                           one run a line
    curves([0, 1], {"Muon": [[y, y], [y, y]]})                 several seeds: their mean, in a band from lowest to highest
    bars(["raw", "FP8"], {"bytes": [3, 2]})                    or {"value": […], "low": […], "high": […]}
    dots(["stored", "multiplied"], {"loss": {…}})              the same where zero is a mark and not an origin
    points({"ours": {"x": [1], "y": [2], "text": ["a"]}})      points with a word each
"""

import itertools
import math
from collections.abc import Sequence

import plotly.graph_objects as go

from k2lib.report import drawing, words
from k2lib.report.drawing import COLOURS, GREY


def curves(
    xs: list,
    lines: dict,
    *,
    x: str,
    y: str,
    title: str = "",
    paper: dict[str, float] | None = None,
    each: str = "",
    log_y: bool = False,
    log_x: bool = False,
) -> go.Figure:
    """Lines over a common axis. `x` and `y` are axis titles with units; `paper` maps a label to a dashed level.

    Several runs of a line are drawn as their mean within the band of all; with `each` ("head") one by one, thin.
    """
    figure, labels, every = go.Figure(), [], list((paper or {}).values())
    runs = {name: drawing.runs(found) for name, found in lines.items()}
    most = max(map(len, runs.values()), default=1)
    limit = max(150, drawing.MOST_POINTS // sum(map(len, runs.values())) if each else drawing.MOST_POINTS)
    for number, (name, found) in enumerate(runs.items()):
        colour, mean = COLOURS[number % len(COLOURS)], drawing.mean(found)
        if each:
            for run in found:
                drawing.line(figure, xs, run, name, colour, width=0.9, limit=limit)
        else:
            drawing.band(figure, xs, found, colour)
            drawing.line(figure, xs, mean, name, colour, width=2, limit=limit)
        labels.append((name, colour, drawing.last(mean)))
        every += [value for run in found for value in run]
    known = [value for value in xs if value > 0 or not log_x]
    for text, value in (paper or {}).items():
        drawing.line(figure, [min(known), max(known)], [value, value], text, GREY, 1.3, dash="dash")
        labels.append((text, GREY, value))
    low, high = drawing.span(every, log_y)
    right = drawing.end_labels(figure, labels, low, high, log_y)
    caption = f"one line a {each}" if each else f"n = {most}: the mean, and the band from lowest to highest"
    drawing.style(figure, title, x, y, right=right, caption=caption if most > 1 else "")
    figure.update_yaxes(type="log" if log_y else "linear", range=[low, high], **drawing.decades(low, high, log_y))
    figure.update_xaxes(type="log" if log_x else "linear", **drawing.ticks(known, log_x))
    return figure


def bars(
    labels: list, bars: dict, *, unit: str, title: str = "", paper: dict[str, float] | None = None, share: bool = False
) -> go.Figure:
    """Horizontal bars from zero with their values, one group a label; shares in percent.

    `paper` maps a bar's label to the paper's number, drawn as a stroke and written beside ours.
    """
    figure = drawing.rows(labels, bars, share, paper or {}, go.Bar)
    ends = [value for bar in bars.values() for value in drawing.bar(bar).get("high", drawing.bar(bar)["value"])]
    widest = max([1.0 if share else 0.0, *ends, *(paper or {}).values()])
    drawing.style_rows(figure, title, unit, labels, len(bars))
    ticks = {"tickformat": ".0%", "tickvals": [0, 0.25, 0.5, 0.75, 1]} if share else {}
    figure.update_xaxes(range=[0, 1.22 * widest], **ticks)
    return figure


def dots(
    labels: list, groups: dict, *, unit: str, title: str = "", marks: dict[str, float] | None = None, log: bool = False
) -> go.Figure:
    """Values and their intervals as dots with whiskers, one row a label; zero, or `marks`, as labelled strokes."""
    figure = drawing.rows(labels, groups, False, {}, go.Scatter)
    marks = {} if marks is None and log else {"0": 0.0} if marks is None else marks
    values = [v for group in groups.values() for end in drawing.bar(group).values() for v in end if v is not None]
    low, high = drawing.span([*values, *marks.values()], log)
    drawing.style_rows(figure, title, unit, labels, len(groups))
    for text, value in marks.items():
        drawing.level(figure, value, "" if text == "0" else text, log)
    room = 0.2 * (high - low)  # for the values
    figure.update_xaxes(type="log" if log else "linear", range=[low, high + room], **drawing.decades(low, high, log))
    return figure


def waterfall(steps: dict[str, float], *, unit: str, title: str = "") -> go.Figure:
    """From the first value to the last, what each step takes away: {step: what is left after it}."""
    names, left = [*steps, "left"], list(steps.values())
    changes = [left[0], *(after - before for before, after in itertools.pairwise(left)), left[-1]]
    kinds = ["absolute", *["relative"] * (len(left) - 1), "total"]
    texts = [drawing.short(change) for change in changes]
    colours = {"increasing": COLOURS[1], "decreasing": COLOURS[2], "totals": COLOURS[0]}
    look = {name: {"marker": {"color": colour}} for name, colour in colours.items()}
    figure = go.Figure(
        go.Waterfall(y=list(range(len(names))), x=changes, measure=kinds, text=texts, orientation="h", **look)
    )
    figure.update_traces(textposition="outside", cliponaxis=False, connector={"line": {"width": 0.5}})
    drawing.style_rows(figure, title, unit, names, 1)
    figure.update_xaxes(range=[0, 1.15 * left[0]])
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
    """Single points with a word each, by group, over lines if there are any; the words stand where they hide least.

    points({"ours": {"x": [1], "y": [2], "text": ["recompute"]}}, lines={"roof": {"x": [1, 2], "y": [3, 3]}})
    """
    figure, every = go.Figure(), [*groups.values(), *(lines or {}).values()]
    spans = [
        drawing.span([value for one in every for value in one[axis]], log) for axis, log in (("x", log_x), ("y", log_y))
    ]
    for name, line in (lines or {}).items():
        drawing.line(figure, line["x"], line["y"], name, GREY, 1.6)
        at = {axis: math.log10(line[axis][-1]) if log else line[axis][-1] for axis, log in (("x", log_x), ("y", log_y))}
        word = {"showarrow": False, "xanchor": "right", "yshift": 9, "font": {"color": GREY, "size": 11}}
        figure.add_annotation(text=name, **at, **word)
    size = drawing.WIDTH - drawing.LEFT - 20, drawing.HEIGHT - drawing.TOP - drawing.BOTTOM
    places = iter(words.place_words(words.pixels(groups, spans, (log_x, log_y), size), *size))
    for number, (name, group) in enumerate(groups.items()):
        look = {"marker": {"size": 10, "color": COLOURS[number % len(COLOURS)], "symbol": number % 3}}
        look |= {"textposition": [next(places) for _ in group["x"]], "textfont": {"size": 11}}
        at = {"x": group["x"], "y": group["y"], "text": [f" {text} " for text in group["text"]]}
        figure.add_scatter(**at, mode="markers+text", name=name, showlegend=len(groups) > 1, **look)
    drawing.style(figure, title, x, y, right=20)
    for update, found, log in zip((figure.update_xaxes, figure.update_yaxes), spans, (log_x, log_y), strict=True):
        update(type="log" if log else "linear", range=found, **drawing.decades(*found, log))
    return figure


def cloud(groups: dict[str, list[list[float]]], *, title: str = "", behind: str = "") -> go.Figure:
    """Points of a map whose axes mean nothing: {group: [[x, y], …]}; the group `behind` is drawn first, and grey."""
    figure = go.Figure()
    for number, name in enumerate(sorted(groups, key=lambda name: name != behind)):
        xs, ys = ([point[axis] for point in groups[name]] for axis in (0, 1))
        colour = GREY if name == behind else COLOURS[number % len(COLOURS)]
        look = {"size": 3 if name == behind else 5, "color": colour, "symbol": number // len(COLOURS) * 2}
        figure.add_scatter(x=xs, y=ys, mode="markers", name=f"{name} ({len(xs)})", marker=look)
    drawing.style(figure, title, "", "", right=170, height=drawing.HEIGHT + 100)
    figure.update_layout(
        legend={"orientation": "v", "x": 1.01, "y": 1, "xanchor": "left", "yanchor": "top", "font": {"size": 11}}
    )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
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
    """A matrix as colours: `values[row][column]`; `unit` names the colour bar. Every row has its label."""
    bar = {"title": {"text": unit, "side": "right"}}
    figure = go.Figure(go.Heatmap(z=values, x=columns, y=rows, colorscale="Cividis", colorbar=bar))
    drawing.style(
        figure, title, x, y, right=20, height=max(drawing.HEIGHT, drawing.TOP + drawing.BOTTOM + 17 * len(values))
    )
    figure.update_yaxes(autorange="reversed", automargin=True, dtick=1)
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
    below = {"y": -0.22, "yanchor": "top"}  # many kinds take several lines
    figure.update_layout(barmode="overlay", legend=below, margin={"b": 110}, height=drawing.HEIGHT + 55)
    figure.update_yaxes(autorange="reversed", type="category", automargin=True)
    return figure

"""Boxes and arrows: the map of the notebooks, and how latent attention leads a token through its latents (section 2.3)."""

from dataclasses import dataclass

import plotly.graph_objects as go

from k2lib.config import K2Config
from k2lib.report import drawing

WIDE, HIGH = 0.84, 0.56  # of a box, in columns and rows
NOTEBOOKS = {  # its title, what it leaves behind, column and row on the map
    "01": ("data rephrasing", "tokens, tokenizer", 0, 0),
    "02": ("architecture", "counts, balance", 0, 1),
    "03": ("MuonClip", "base checkpoint", 1, 0),
    "04": ("memory", "bytes, losses", 1, 1),
    "05": ("parallelism", "timelines", 0, -1),
    "06": ("SFT", "SFT checkpoint", 2, 0),
    "07": ("RL", "RL checkpoint", 3, 0),
    "08": ("evaluation", "scores, report", 4, 0),
}
FLOW = "01-02 01-03 01-05 03-04 03-06 06-07 07-08"  # who reads what another leaves behind


@dataclass(frozen=True)
class Box:
    title: str
    below: str
    column: float
    row: float
    strong: bool = False


def map_of_notebooks() -> go.Figure:
    """Boxes with what the notebooks leave behind, arrows where a result is another's start."""
    boxes = {
        number: Box(f"{number} {title}", leaves, column, row)
        for number, (title, leaves, column, row) in NOTEBOOKS.items()
    }
    return draw(boxes, [tuple(arrow.split("-")) for arrow in FLOW.split()], "What a notebook leaves to others")


def latent_attention(config: K2Config) -> go.Figure:
    """The ways of a token through multi-head latent attention, with the numbers that stand for it; what is cached is filled."""
    c, heads = config, config.num_attention_heads
    boxes = {
        "residual": Box("residual", f"{c.hidden_size:,}", 0, 1),
        "query latent": Box("query latent", f"{c.q_lora_rank:,}", 1, 0),
        "queries": Box("queries", f"{heads} × {c.qk_head_dim}, {c.qk_rope_head_dim} of them rotary", 2, 0),
        "latent": Box("key-value latent", f"{c.kv_lora_rank}, cached", 1, 1, strong=True),
        "rotary key": Box("rotary key", f"{c.qk_rope_head_dim} for all heads, cached", 1, 2, strong=True),
        "keys": Box("keys", f"{heads} × {c.qk_nope_head_dim}, and the rotary one", 2, 1),
        "values": Box("values", f"{heads} × {c.v_head_dim}", 2, 2),
        "scores": Box("scores, softmax", f"{heads} a token before", 3, 0.5),
        "sums": Box("sums of values", f"{heads} × {c.v_head_dim}", 3, 1.5),
        "out": Box("residual", f"{c.hidden_size:,}", 4, 1),
    }
    arrows = "residual>query latent|query latent>queries|residual>latent|residual>rotary key|latent>keys|latent>values"
    arrows += "|rotary key>keys|queries>scores|keys>scores|scores>sums|values>sums|sums>out"
    return draw(boxes, [tuple(arrow.split(">")) for arrow in arrows.split("|")], "Latent attention, in numbers a token")


def draw(boxes: dict[str, Box], arrows: list[tuple[str, str]], title: str) -> go.Figure:
    """Boxes in columns and rows, an arrow from edge to edge for each pair of names."""
    figure = go.Figure()
    for box in boxes.values():
        edge = {"x0": box.column - WIDE / 2, "x1": box.column + WIDE / 2}
        edge |= {"y0": -box.row - HIGH / 2, "y1": -box.row + HIGH / 2}
        fill = "#fbe3c8" if box.strong else "#eef5fb"
        figure.add_shape(type="rect", **edge, line={"color": drawing.COLOURS[0], "width": 1.5}, fillcolor=fill)
        text = f"<b>{box.title}</b><br>{'<br>'.join(box.below.split(', '))}"
        figure.add_annotation(x=box.column, y=-box.row, text=text, showarrow=False, font={"size": 10})
    look = {
        "xref": "x",
        "yref": "y",
        "axref": "x",
        "ayref": "y",
        "text": "",
        "arrowhead": 3,
        "arrowcolor": drawing.GREY,
    }
    for start, end in arrows:
        one, other = boxes[start], boxes[end]
        across = WIDE / 2 * (other.column > one.column)  # sideways, or straight up or down
        along = HIGH / 2 * ((other.row < one.row) - (other.row > one.row)) * (other.column == one.column)
        ends = {"ax": one.column + across, "ay": -one.row + along, "x": other.column - across, "y": -other.row - along}
        figure.add_annotation(showarrow=True, **ends, **look)
    columns, rows = [box.column for box in boxes.values()], [-box.row for box in boxes.values()]
    tall = max(rows) - min(rows) + 1
    drawing.style(figure, title, "", "", right=5, height=round(drawing.TOP + 95 * tall))
    figure.update_xaxes(visible=False, range=[min(columns) - 0.48, max(columns) + 0.48])
    figure.update_yaxes(visible=False, range=[min(rows) - 0.45, max(rows) + 0.45])
    figure.update_layout(margin={"l": 5, "b": 5})
    return figure

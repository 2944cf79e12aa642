"""What notebook 00 shows before anything is computed: the machine, the map, the shape of the model, the claims."""

import plotly.graph_objects as go

from k2lib.config import K2Config
from k2lib.publish import table
from k2lib.report import drawing, results, show

# notebook, its title, what it leaves behind, column and row on the map
STEPS = (
    ("01", "data rephrasing", "tokens, tokenizer", 0, 0),
    ("02", "MoE architecture", "model definition", 0, 1),
    ("03", "MuonClip", "base checkpoint", 1, 0),
    ("04", "memory", "memory tables", 1, 1),
    ("05", "parallelism", "timelines", 2, 1),
    ("06", "SFT", "SFT checkpoint", 2, 0),
    ("07", "RL", "RL checkpoint", 3, 0),
    ("08", "evaluation", "report.html", 3, 1),
)
ARROWS = [arrow.split("-") for arrow in "01-03 02-03 03-06 06-07 07-08 03-04 03-05 05-08".split()]
WIDE, HIGH = 0.8, 0.5  # of a box, in columns and rows


def show_machine(rows: dict[str, str]) -> None:
    """The machine as a small table."""
    _markdown("| | |\n|---|---|\n" + "\n".join(f"| {name} | {value} |" for name, value in rows.items()))


def show_answers() -> None:
    """What the committed run of notebook 08 answered at each age, or that it was not asked."""
    _, ledger = results.published("08_evaluation")
    if "answers" not in ledger.measured:
        print("the committed run of notebook 08 is older than these questions")
        return
    show.origin(ledger)
    show.answers(ledger.measured["answers"]["value"], ["base", "SFT", "RL"])


def show_claims() -> None:
    """Every claim with the paper's number, the rule that judges it, and its strongest committed result, as Markdown."""
    _markdown(table.markdown(link=""))


def pipeline_figure() -> go.Figure:
    """The map of the notebooks: boxes with what they leave behind, arrows where a result is the next one's start."""
    figure = go.Figure()
    place = {number: (column, -row) for number, _, _, column, row in STEPS}
    for number, title, leaves, column, row in STEPS:
        box = {"x0": column - WIDE / 2, "x1": column + WIDE / 2, "y0": -row - HIGH / 2, "y1": -row + HIGH / 2}
        outline = {"color": drawing.COLOURS[0], "width": 1.5}
        figure.add_shape(type="rect", **box, line=outline, fillcolor="#eef5fb")
        text = f"<b>{number} {title}</b><br>{leaves}"
        figure.add_annotation(x=column, y=-row, text=text, showarrow=False, font={"size": 11})
    look = {"xref": "x", "yref": "y", "axref": "x", "ayref": "y", "text": "", "arrowhead": 3, "arrowcolor": "#555555"}
    for start, end in ARROWS:
        (x0, y0), (x1, y1) = place[start], place[end]
        across = WIDE / 2 * (x1 > x0)  # from edge to edge: sideways, or straight up or down
        along = HIGH / 2 * (1 if y1 < y0 else -1) * (x1 == x0 and y1 != y0)
        figure.add_annotation(ax=x0 + across, ay=y0 - along, x=x1 - across, y=y1 + along, showarrow=True, **look)
    figure.update_xaxes(visible=False, range=[-0.5, 3.5])
    figure.update_yaxes(visible=False, range=[-1.4, 0.4])
    margin = {"l": 5, "r": 5, "t": 5, "b": 5}
    figure.update_layout(width=drawing.WIDTH, height=260, margin=margin, font=drawing.FONT, plot_bgcolor="white")
    return figure


def show_shape(config: K2Config) -> None:
    """A table of the dimensions of this profile's model beside the released K2's."""
    released = K2Config.preset("kimi-k2")
    fields = {
        "layers": "num_hidden_layers",
        "width": "hidden_size",
        "heads": "num_attention_heads",
        "query latent": "q_lora_rank",
        "key-value latent": "kv_lora_rank",
        "experts": "n_routed_experts",
        "active experts": "num_experts_per_tok",
        "expert width": "moe_intermediate_size",
        "vocabulary": "vocab_size",
    }
    lines = [f"| {title} | {getattr(config, name):,} | {getattr(released, name):,} |" for title, name in fields.items()]
    _markdown("\n".join(["| | this profile | Kimi K2 |", "|---|--:|--:|", *lines]))


def _markdown(text: str) -> None:
    from IPython.display import Markdown, display

    display(Markdown(text))

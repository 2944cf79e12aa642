"""README's picture: the logits of notebook 03 with and without QK-Clip, drawn from the strongest committed run."""

from pathlib import Path

import plotly.graph_objects as go

from k2lib import profiles
from k2lib.report import figures, picture
from k2lib.report.results import RESULTS, published
from k2lib.studies import clip


def draw(path: Path = RESULTS / "readme.png") -> bool:
    """Write the PNG; False, and nothing written, without a browser to draw with or without committed results."""
    if not picture.browser():
        return False
    try:
        headline().write_image(path, format="png", scale=1)
    except FileNotFoundError:
        return False
    return True


def headline() -> go.Figure:
    """The figure; FileNotFoundError without committed results."""
    run, ledger = published("03_muonclip")
    size, seeds = profiles.get(run.profile).clip, ledger.measured["clip"]["value"]
    logits = {arm: [run["max_logit"] for run in runs] for arm, runs in clip.by_arm(seeds).items()}
    lines = {"Muon": logits["muon"], "MuonClip": logits["muonclip"]}
    title = f"Plain Muon's logits run away; QK-Clip holds them near τ ({len(seeds)} seeds)"
    look = {"x": "step", "y": "largest logit of any head", "log_y": True, "paper": {f"τ = {size.tau:g}": size.tau}}
    return figures.curves(list(range(size.steps)), lines, title=title, **look)

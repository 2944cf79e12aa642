"""README's picture: the logits of notebook 03 with and without QK-Clip, drawn from the strongest committed run."""

from pathlib import Path

import plotly.graph_objects as go

from k2lib import profiles
from k2lib.report import figures, picture
from k2lib.report.results import RESULTS, published
from k2lib.studies import growth


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
    size, seeds = profiles.get(run.profile).growth, ledger.measured["growth"]["value"]
    lines = {arm: [each[arm][growth.HIGH]["max_logit"] for each in seeds] for arm in ("AdamW", "Muon", "MuonClip")}
    title = f"Logits at {growth.HIGH} times each optimizer's best rate: only QK-Clip holds them ({len(seeds)} seeds)"
    paper = {f"τ = {size.tau:g} (K2: 100, above 1000 without)": size.tau}
    return figures.curves(
        list(range(size.steps)), lines, title=title, x="step", y="largest logit of any head", log_y=True, paper=paper
    )

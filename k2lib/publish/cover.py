"""README's picture: the logits of notebook 03 with and without QK-Clip, drawn from the committed laptop results."""

from pathlib import Path

from k2lib import profiles
from k2lib.report import figures, picture
from k2lib.report.results import RESULTS, runs

NOTEBOOK, SERIES = "03_muonclip", "clip_logits"


def draw(path: Path = RESULTS / "readme.png") -> bool:
    """Write the PNG; False, and nothing written, without a browser to draw with or without committed results."""
    ledger = next((ledger for run in runs("laptop") if (ledger := run.ledger(NOTEBOOK))), None)
    if not (ledger and picture.browser()):
        return False
    size = profiles.get("laptop").clip
    title = f"Plain Muon's logits run away; QK-Clip holds them at τ ({size.seeds} seeds)"
    look = {"x": "step", "y": "largest logit of any head", "log_y": True, "paper": {f"τ = {size.tau:g}": size.tau}}
    figure = figures.curves(ledger.series[SERIES], title=title, **look)
    figure.write_image(path, format="png", scale=1)
    return True

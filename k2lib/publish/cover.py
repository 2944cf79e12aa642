"""README's picture: the logits of notebook 03 with and without QK-Clip, drawn from the strongest committed run."""

from pathlib import Path

from k2lib import profiles
from k2lib.report import figures, picture
from k2lib.report.results import RESULTS, published
from k2lib.studies import clip


def draw(path: Path = RESULTS / "readme.png") -> bool:
    """Write the PNG; False, and nothing written, without a browser to draw with or without committed results."""
    try:
        run, ledger = published("03_muonclip")
    except FileNotFoundError:
        return False
    if not picture.browser():
        return False
    size, seeds = profiles.get(run.profile).clip, ledger.measured["clip"]["value"]
    logits = {arm: [run["max_logit"] for run in runs] for arm, runs in clip.by_arm(seeds).items()}
    lines = {"Muon": logits["muon"], "MuonClip": logits["muonclip"]}
    title = f"Plain Muon's logits run away; QK-Clip holds them at τ ({len(seeds)} seeds)"
    look = {"x": "step", "y": "largest logit of any head", "log_y": True, "paper": {f"τ = {size.tau:g}": size.tau}}
    figure = figures.curves(list(range(size.steps)), lines, title=title, **look)
    figure.write_image(path, format="png", scale=1)
    return True

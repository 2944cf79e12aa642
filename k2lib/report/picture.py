"""A plotly figure as notebooks store it: JSON with short plain numbers, and a PNG for those who cannot run JavaScript.

Plotly would store numpy arrays as base64, which nobody can compare, and 17 digits of each number, which differ between
processors. GitHub and printed pages show the PNG, JupyterLab the interactive figure.
"""

import base64
import io
import json
import os
import re
import shutil
import warnings
from html import escape

from k2lib.report.ledger import plain

MIMETYPE = "application/vnd.plotly.v1+json"
DIGITS = 4
COLOURS = 128  # of a PNG: lines and bars on white need no more
CONFIG = {"displaylogo": False, "modeBarButtonsToRemove": ["sendChartToCloud"]}  # that button would upload the figure
DRAW = """
for (const place of document.querySelectorAll(".k2-figure")) {
  const figure = JSON.parse(place.nextElementSibling.textContent);
  Plotly.newPlot(place, figure.data, figure.layout, figure.config);
}
"""
_server_started = False


def content(figure) -> dict:
    """The figure's JSON: data, layout and config, arrays as lists, numbers rounded to four significant digits."""
    import numpy as np

    def decoded(value: object) -> object:
        if isinstance(value, dict) and set(value) >= {"bdata", "dtype"}:
            array = np.frombuffer(base64.b64decode(value["bdata"]), dtype=value["dtype"])
            shape = value.get("shape")
            return array.reshape([int(side) for side in str(shape).split(",")] if shape else -1).tolist()
        if isinstance(value, dict):
            return {key: decoded(item) for key, item in value.items()}
        return [decoded(item) for item in value] if isinstance(value, list) else value

    found = decoded(json.loads(figure.to_json()))
    found["layout"].pop("template", None)  # 6 kB of defaults; figures.py sets what it wants
    return {"data": plain(found["data"], DIGITS), "layout": plain(found["layout"], DIGITS), "config": CONFIG}


def alt(figure_content: dict) -> str:
    """What the picture shows, for whoever cannot see it: its title and what its axes measure."""
    layout = figure_content["layout"]
    words = [layout.get(part, {}).get("title", {}).get("text", "") for part in ("yaxis", "xaxis")]
    axes = " over ".join(word for word in words if word)
    title = re.sub(r"</?\w+/?>", "", layout.get("title", {}).get("text", ""))
    return ". ".join(part for part in (title, axes) if part) or "A figure"


def place(figure_content: dict) -> str:
    """HTML where `DRAW` draws the figure once plotly is there, with words for whoever cannot see it."""
    data = json.dumps(figure_content).replace("<", "\\u003c")  # no text of a figure ends the script
    words = escape(alt(figure_content), quote=True)
    return (
        f"<div class='k2-figure' role='img' aria-label='{words}'></div><script type='application/json'>{data}</script>"
    )


def png(figure_content: dict) -> str | None:
    """The figure as a PNG in base64 when K2_PNG=1 asks for it and a Chromium can draw it; else None."""
    if os.environ.get("K2_PNG", "0") != "1" or not browser():
        return None
    global _server_started
    import kaleido
    import plotly.graph_objects as go

    if not _server_started:  # one browser for all figures: 0.1 s each instead of 1.8 s
        kaleido.start_sync_server(silence_warnings=True)
        _server_started = True
    figure = go.Figure(data=figure_content["data"], layout=figure_content["layout"])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The kopts argument is ignored")  # plotly's, about its own defaults
        return base64.b64encode(with_palette(figure.to_image("png", scale=1))).decode()


def with_palette(picture: bytes) -> bytes:
    """The same PNG in COLOURS colours, in about a fifth of the bytes; the same bytes for one that has a palette already."""
    from PIL import Image

    with Image.open(io.BytesIO(picture)) as image:
        if image.mode == "P":
            return picture
        few = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    found = io.BytesIO()
    few.save(found, "png", optimize=True)
    return found.getvalue()


def browser() -> str | None:
    """The path of a Chromium or Chrome on this machine, if there is one."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next((path for path in map(shutil.which, names) if path), None)

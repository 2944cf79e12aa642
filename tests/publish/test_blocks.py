"""Boxes and arrows: the map's arrows lead where notebooks read, latent attention has the config's numbers."""

import nbformat

from k2lib import K2Config
from k2lib.publish import blocks
from k2lib.runner.plan import NOTEBOOKS


def words(figure) -> str:
    return " ".join(annotation.text for annotation in figure.layout.annotations if annotation.text)


def test_every_notebook_is_on_the_map_and_every_arrow_starts_and_ends_there():
    titles = {path.stem[:2]: nbformat.read(path, as_version=4) for path in NOTEBOOKS.glob("[0-9]*.ipynb")}
    assert set(blocks.NOTEBOOKS) == set(titles) - {"00"}
    figure = blocks.map_of_notebooks()
    assert all(f"<b>{number} " in words(figure) for number in blocks.NOTEBOOKS)
    arrows = [annotation for annotation in figure.layout.annotations if annotation.showarrow]
    assert len(arrows) == len(blocks.FLOW.split()) and len(figure.layout.shapes) == len(blocks.NOTEBOOKS)


def test_an_arrow_leads_from_edge_to_edge():
    boxes = {"a": blocks.Box("a", "", 0, 0), "b": blocks.Box("b", "", 1, 0), "c": blocks.Box("c", "", 0, 1)}
    figure = blocks.draw(boxes, [("a", "b"), ("a", "c")], "T")
    right, down = [annotation for annotation in figure.layout.annotations if annotation.showarrow]
    assert (right.ax, right.x, right.ay, right.y) == (blocks.WIDE / 2, 1 - blocks.WIDE / 2, 0, 0)
    assert (down.ax, down.x, down.ay, down.y) == (0, 0, -blocks.HIGH / 2, -1 + blocks.HIGH / 2)


def test_latent_attention_shows_what_is_cached():
    figure = blocks.latent_attention(K2Config.preset("kimi-k2"))
    text = words(figure)
    assert all(
        number in text for number in ("7,168", "1,536", "64 × 192", "512<br>cached", "64 for all heads<br>cached")
    )
    filled = {shape.fillcolor for shape in figure.layout.shapes}
    assert len(filled) == 2 and sum(shape.fillcolor == "#fbe3c8" for shape in figure.layout.shapes) == 2

"""The figures of the committed pages as a browser draws them: no word lies over another, none is cut off."""

import itertools

import nbformat
import pytest

from k2lib.report.picture import MIMETYPE, browser
from k2lib.runner.plan import NOTEBOOKS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser() is None, reason="no Chromium: figures are not drawn (apt-get install chromium)"),
]
WORDS = ".gtitle, .gtitle-subtitle, .xtitle, .ytitle, .xtick text, .ytick text, .legendtext, .annotation-text, .textpoint text"
BOXES = f"""() => {{
    const frame = document.querySelector('.main-svg').getBoundingClientRect();
    return [...document.querySelectorAll('{WORDS}')].map(node => {{
        const box = node.getBoundingClientRect();
        return [node.textContent, box.left - frame.left, box.top - frame.top, box.right - frame.left,
                box.bottom - frame.top, frame.width, frame.height];
    }}).filter(box => box[0].trim());
}}"""
OVERLAP = 2.5  # pixels in both directions, since a box is a little taller than its letters


@pytest.fixture(scope="module")
def tab():
    from playwright.sync_api import sync_playwright
    from plotly.offline import get_plotlyjs

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser(), args=["--no-sandbox", "--disable-gpu"])
        page = chromium.new_page(viewport={"width": 800, "height": 2400})
        page.set_content("<div id='figure'></div>")
        page.add_script_tag(content=get_plotlyjs())
        yield page
        chromium.close()


def faults(boxes: list) -> list[str]:
    """A sentence for every word that is cut off or lies over another."""
    cut = [
        f"{text!r} is cut off"
        for text, left, top, right, bottom, width, height in boxes
        if left < -1 or top < -1 or right > width + 1 or bottom > height + 1
    ]
    for one, other in itertools.combinations(boxes, 2):
        wide, tall = (min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (1, 2))
        if min(wide, tall) > OVERLAP:
            cut.append(f"{one[0]!r} lies over {other[0]!r}")
    return cut


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_no_word_of_a_pages_figures_is_cut_off_or_lies_over_another(tab, path):
    outputs = [output for cell in nbformat.read(path, as_version=4).cells for output in cell.get("outputs", [])]
    found = {}
    for output in outputs:
        if MIMETYPE in output.get("data", {}):
            figure = output.data[MIMETYPE]
            tab.evaluate("figure => Plotly.newPlot('figure', figure.data, figure.layout)", figure)
            boxes = tab.evaluate(BOXES)
            assert boxes, output.data["text/plain"]
            found[output.data["text/plain"]] = faults(boxes)
    assert not {name: said for name, said in found.items() if said}


def test_faults_are_seen(tab):
    words = [
        {"text": "one word", "x": 1, "y": 1, "showarrow": False},
        {"text": "another", "x": 1, "y": 1, "showarrow": False},
    ]
    far = {"text": "a very long label that cannot fit", "x": 0, "xanchor": "right", "y": 0, "showarrow": False}
    layout = {"width": 300, "height": 200, "annotations": [*words, far], "margin": {"l": 5, "r": 5, "t": 5, "b": 5}}
    tab.evaluate("layout => Plotly.newPlot('figure', [{x: [0, 2], y: [0, 2]}], layout)", layout)
    found = faults(tab.evaluate(BOXES))
    assert any("lies over" in fault for fault in found) and any("is cut off" in fault for fault in found)

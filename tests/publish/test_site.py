"""The static site of the committed pages, opened in a browser: figures draw, formulas are typeset, links lead somewhere."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest

from k2lib.publish import book
from k2lib.report import picture
from k2lib.runner.plan import NOTEBOOKS

pytestmark = pytest.mark.slow
PAGES = sorted(path.stem for path in NOTEBOOKS.glob("[0-9]*.ipynb"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return book.build(tmp_path_factory.mktemp("site") / "book").parent


def test_the_site_is_whole_and_loads_nothing_from_a_network(site):
    assert {f"{name}.html" for name in PAGES} | {"index.html", "figures.js", "plotly.min.js"} <= {
        p.name for p in site.iterdir()
    }
    assert not list(site.parent.glob(".*"))  # nothing half made is left
    for page in site.glob("*.html"):
        text = page.read_text()
        assert not re.search(r"<(?:script|img|link)[^>]+(?:src|href)=[\"'](?:https?:)?//", text), page.name
        assert "K2FORMULA" not in text
    assert "<math" in (site / "07_rl.html").read_text()


def test_every_link_leads_to_a_page_and_a_place_that_are_there(site):
    checked = 0
    for page in site.glob("*.html"):
        for link in re.findall(r"<a [^>]*href=[\"']([^\"']+)", page.read_text()):
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (page.parent / unquote(parts.path)) if parts.path else page
            assert target.exists(), (page.name, link)
            if parts.fragment:
                assert re.search(rf"id=[\"']{re.escape(unquote(parts.fragment))}[\"']", target.read_text()), (
                    page.name,
                    link,
                )
            checked += 1
    assert checked > 100


@pytest.mark.skipif(picture.browser() is None, reason="no Chromium (apt-get install chromium)")
def test_every_figure_draws_and_no_page_complains(site):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=picture.browser(), args=["--no-sandbox"])
        tab, complaints = chromium.new_page(), []
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        for name in PAGES:
            tab.goto(Path(site / f"{name}.html").as_uri())
            outputs = [
                o for c in nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4).cells for o in c.get("outputs", [])
            ]
            wanted = sum(picture.MIMETYPE in output.get("data", {}) for output in outputs)
            tab.wait_for_function(f"document.querySelectorAll('.k2-figure .main-svg').length >= {wanted}")
            assert tab.locator(".k2-figure").count() == wanted and wanted
        chromium.close()
    assert complaints == []


def test_a_link_that_leads_nowhere_ends_the_build_and_leaves_the_old_site(tmp_path):
    (tmp_path / "notebooks").mkdir()
    cell = nbformat.v4.new_markdown_cell("# 00 · Tiny\n\nSee [that](01_missing.md).")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "notebooks" / "00_tiny.ipynb")
    (tmp_path / "notebooks" / "README.md").write_text("# Questions\n\n| 1 | What? | 00, *00 · Tiny* |\n")
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "index.html").write_text("old")
    with pytest.raises(BaseException, match="strict mode"):
        book.build(tmp_path / "book", tmp_path / "notebooks")
    assert (tmp_path / "book" / "index.html").read_text() == "old"


def test_formulas_become_mathml_and_code_stays():
    formulas = []
    text = book._mark("the ratio $r - \\bar r$ and\n$$L = x^2$$\ncosts 5", formulas)
    assert text == "the ratio K2FORMULA0K2 and\nK2FORMULA1K2\ncosts 5"
    assert formulas[0].startswith("<math") and 'display="block"' in formulas[1]

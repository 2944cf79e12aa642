"""The form in which notebooks are committed: canonical, byte-identical when nothing changed, and checked."""

import json

import nbformat
import pytest

from k2lib.books import form, hygiene
from k2lib.books import rebuild as books
from k2lib.report import picture

FIGURE = "import plotly.graph_objects as go\nb.show(go.Figure(go.Scatter(y=[1, 2])), 'line')"
CLOCK = "import time\nprint(time.time())"


def outputs(path, cell: int) -> list:
    return nbformat.read(path, as_version=4).cells[cell].outputs


def test_building_twice_gives_the_same_bytes(make, tmp_path, capsys):
    path = make("00_a", "print('x')\nimport sys\nprint('noise', file=sys.stderr)", FIGURE, finish=True)
    assert books.build([], path.parent, tmp_path / "expected.json") == (0 if picture.browser() else 1)
    first = path.read_bytes()
    books.build([], path.parent, tmp_path / "expected.json")
    assert path.read_bytes() == first
    assert "00_a: rewritten" in capsys.readouterr().out.splitlines()[0]
    notebook = nbformat.reads(first.decode(), as_version=4)
    assert [cell.id for cell in notebook.cells] == [f"c{number:02d}" for number in range(len(notebook.cells))]
    assert [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"] == [1, 2, 3, 4, 5]
    assert b"noise" not in first.replace(b"print('noise'", b"")


def test_a_volatile_cell_keeps_its_output_until_its_source_changes(make, tmp_path):
    path = make("00_a", CLOCK, finish=True)
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[5].metadata["tags"] = ["volatile"]
    nbformat.write(notebook, path)
    books.build([], path.parent, tmp_path / "expected.json")
    first = outputs(path, 5)
    books.build([], path.parent, tmp_path / "expected.json")
    assert outputs(path, 5) == first
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[5].source += "\nprint('more')"
    nbformat.write(notebook, path)
    books.build([], path.parent, tmp_path / "expected.json")
    assert outputs(path, 5)[0].text != first[0].text


def test_an_unchanged_figure_keeps_its_committed_picture_and_a_changed_one_does_not():
    def notebook(y: list, png: str):
        data = {picture.MIMETYPE: {"data": [{"y": y}]}, "text/plain": "<figure 00_a/line>", "image/png": png}
        output = nbformat.v4.new_output("display_data", data=data)
        return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("b.show()", outputs=[output])])

    def kept(fresh, committed):
        return form.keep(fresh, committed).cells[0].outputs[0].data["image/png"]

    assert kept(notebook([1], "this machine's"), notebook([1], "committed")) == "committed"
    assert kept(notebook([2], "this machine's"), notebook([1], "committed")) == "this machine's"


def test_how_stdout_was_cut_into_pieces_does_not_show():
    def pieces(*texts):
        streams = [nbformat.v4.new_output("stream", name="stdout", text=text) for text in texts]
        return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("x", outputs=streams)])

    assert nbformat.writes(form.canonical(pieces("a", "b"))) == nbformat.writes(form.canonical(pieces("ab")))


def test_expected_numbers_stay_while_within_tolerance_and_follow_beyond_it(make, tmp_path):
    path, expected = make("00_a", "b.metric('loss', 2.0)", finish=True), tmp_path / "expected.json"

    def value():
        books.build([], path.parent, expected)
        return json.loads(expected.read_text())["00_a"]["values"]["loss"]

    assert value() == {"value": 2.0, **books.TOLERANCE}
    make("00_a", "b.metric('loss', 2.05)", finish=True)
    assert value()["value"] == 2.0
    make("00_a", "b.metric('loss', 3.0)", finish=True)
    assert value()["value"] == 3.0


def test_a_value_agrees_within_its_tolerance_only():
    entry = {"value": 2.0, "rel": 0.1, "abs": 0.0}
    assert books.within(2.19, entry) and not books.within(2.21, entry)
    assert not books.within(1.0, {"value": None, "rel": 1.0, "abs": 1.0})


@pytest.fixture(scope="module")
def built(write, tmp_path_factory):
    """A notebook in order, built once."""
    folder = tmp_path_factory.mktemp("good")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("K2_ARTIFACTS", str(folder / "artifacts"))
        path = write(folder, "00_a", "print('x')", finish=True)
        assert books.build([], folder, folder / "expected.json") == 0
    return path.read_text()


@pytest.fixture
def good(built, tmp_path):
    (tmp_path / "00_a.ipynb").write_text(built)
    return tmp_path / "00_a.ipynb"


FAULTS = {
    "a card without its claims": (lambda nb: _set(nb, 0, nb.cells[0].source.replace("Claims", "-")), "claims"),
    "no title": (lambda nb: _set(nb, 0, "text"), "must open with"),
    "another default profile": (lambda nb: _set(nb, 1, 'profile = "laptop"\nseed = 0'), "needs one cell tagged"),
    "more parameters": (lambda nb: _set(nb, 1, 'profile = "smoke"\nseed = 0\nsteps = 3'), "needs one cell tagged"),
    "a long cell": (lambda nb: _set(nb, 5, "\n".join(f"x = {i}" for i in range(16))), "16 lines; at most 15"),
    "an installation": (lambda nb: _set(nb, 5, "%pip install x"), "installs packages"),
    "an exit": (lambda nb: _set(nb, 5, "import sys\nsys.exit(0)"), "papermill takes that for success"),
    "a figure past the kit": (lambda nb: _set(nb, 5, "fig.show()"), "figures go through b.show"),
    "a semicolon": (lambda nb: _set(nb, 5, "x = 1;"), "semicolon"),
    "a bare expression": (lambda nb: _set(nb, 5, "x = 1\nx"), "line 2 is a bare expression"),
    "an error": (
        lambda nb: nb.cells[5].outputs.append(nbformat.v4.new_output("error", ename="E", evalue="", traceback=[])),
        "holds an error: E",
    ),
    "a shown value": (
        lambda nb: nb.cells[5].outputs.append(nbformat.v4.new_output("execute_result", data={"text/plain": "1"})),
        "shows the value of its last line",
    ),
    "a widget": (
        lambda nb: nb.cells[5].outputs.append(
            nbformat.v4.new_output("display_data", data={"application/vnd.jupyter.widget-view+json": {}})
        ),
        "holds a widget",
    ),
    "a figure without picture": (
        lambda nb: nb.cells[5].outputs.append(nbformat.v4.new_output("display_data", data={picture.MIMETYPE: {}})),
        "figure without a picture",
    ),
    "a cell that was not run": (lambda nb: nb.cells[5].update(execution_count=None), "was not run"),
    "an unchecked last cell": (lambda nb: nb.cells[-1].update(metadata={}), "must be b.finish()"),
    "a last cell without output": (lambda nb: nb.cells[-1].update(outputs=[]), "no committed output"),
    "two checked cells": (lambda nb: nb.cells[5].update(metadata={"tags": ["nbval-check-output"]}), "only the last"),
    "other ids": (lambda nb: nb.cells[5].update(id="mine"), "not in canonical form"),
    "an edit that was not run": (lambda nb: _set(nb, 5, "print('y')"), "edited since it was run"),
    "a huge output": (
        lambda nb: nb.cells[5].outputs.append(nbformat.v4.new_output("stream", name="stdout", text="x" * 1_000_001)),
        "stay under 1 MB",
    ),
    "little prose": (lambda nb: nb.cells.extend(map(nbformat.v4.new_code_cell, "abcde")), "prose should be"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_notebook_is_found_out(good, fault):
    spoil, complaint = FAULTS[fault]
    notebook = nbformat.read(good, as_version=4)
    spoil(notebook)
    nbformat.write(notebook, good)
    found = hygiene.problems(good)
    assert any(complaint in problem for problem in found), found


def _set(notebook, cell: int, source: str) -> None:
    notebook.cells[cell].source = source

"""The form in which notebooks are committed: canonical, byte-identical when nothing changed, and checked."""

import nbformat
import pytest

from k2lib.books import bands, form, hygiene
from k2lib.books import rebuild as books
from k2lib.report import picture
from k2lib.report.ledger import Ledger

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("artifacts")]

FIGURE = "import plotly.graph_objects as go\nb.show(go.Figure(go.Scatter(y=[1, 2])), 'line')"


def outputs(path, cell: int) -> list:
    return nbformat.read(path, as_version=4).cells[cell].outputs


def test_building_twice_gives_the_same_bytes(make, tmp_path, capsys):
    path = make("00_a", "print('x')\nimport sys\nprint('noise', file=sys.stderr)", FIGURE, finish=True)
    assert books.build([], path.parent) == (0 if picture.browser() else 1)
    first = path.read_bytes()
    books.build([], path.parent)
    assert path.read_bytes() == first
    assert "00_a: rewritten" in capsys.readouterr().out.splitlines()[0]
    notebook = nbformat.reads(first.decode(), as_version=4)
    assert [cell.id for cell in notebook.cells] == [f"c{number:02d}" for number in range(len(notebook.cells))]
    assert [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"] == [1, 2, 3, 4, 5]
    assert b"noise" not in first.replace(b"print('noise'", b"")


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


def run_of(value: float, dtype: str = "float32", **metrics: float) -> Ledger:
    return Ledger("00_a", "smoke", metrics={"loss": value} | metrics, provenance={"measured": {"dtype": dtype}})


def test_bands_hold_what_seeds_gave_and_some_more_and_each_arithmetic_has_its_own(tmp_path):
    for seed, value in enumerate((2.0, 2.2, 2.1)):
        run_of(value).save(tmp_path / f"float32-1-{seed}" / "smoke" / "ledgers" / "00_a.json")
    run_of(5.0, "bfloat16").save(tmp_path / "bfloat16-1-0" / "smoke" / "ledgers" / "00_a.json")
    found = bands.collect(tmp_path)
    assert bands.shared({"a": [0.0, 2.0], "b": [1.0]}) == {"a": [0.0, 2.0, 1.0], "b": [0.0, 2.0, 1.0]}
    low, high = found["00_a"]["loss"]["float32"]
    assert 1.8 < low < 1.9 and 2.3 < high < 2.4
    assert bands.outside(run_of(2.25), found) == []
    assert bands.outside(run_of(2.5), found) == [f"loss is 2.5, outside {low} to {high} (float32)"]
    assert bands.outside(run_of(2.1, "bfloat16"), found)[0].startswith("loss is 2.1, outside")
    assert bands.outside(run_of(2.1, extra=1.0), found) == ["extra has no band for float32"]
    assert bands.outside(Ledger("00_a", "smoke", provenance=run_of(0).provenance), found) == ["loss was not measured"]


@pytest.fixture(scope="module")
def built(write, tmp_path_factory):
    """A notebook in order, built once."""
    folder = tmp_path_factory.mktemp("good")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("K2_ARTIFACTS", str(folder / "artifacts"))
        path = write(folder, "00_a", "print('x')", finish=True)
        assert books.build([], folder) == 0
    return path.read_text()


@pytest.fixture
def good(built, tmp_path):
    (tmp_path / "00_a.ipynb").write_text(built)
    return tmp_path / "00_a.ipynb"


FAULTS = {
    "a card without its claims": (lambda nb: _set(nb, 0, nb.cells[0].source.replace("Claims", "-")), "claims"),
    "no title": (lambda nb: _set(nb, 0, "text"), "must open with"),
    "another default profile": (lambda nb: _set(nb, 1, 'profile = "smoke"\nseed = 0'), "needs one cell tagged"),
    "more parameters": (lambda nb: _set(nb, 1, 'profile = "published"\nseed = 0\nsteps = 3'), "needs one cell tagged"),
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
    "a figure without words": (
        lambda nb: nb.cells[5].outputs.append(
            nbformat.v4.new_output("display_data", data={picture.MIMETYPE: {}, "image/png": "iVBO"})
        ),
        "without words",
    ),
    "a cell that was not run": (lambda nb: nb.cells[5].update(execution_count=None), "was not run"),
    "another last cell": (lambda nb: _set(nb, -1, "print('done')"), "must be b.finish()"),
    "a long line": (lambda nb: _set(nb, 5, f"x = '{'x' * 100}'"), "a line of 106 characters; at most 100"),
    "a last cell without output": (lambda nb: nb.cells[-1].update(outputs=[]), "no committed output"),
    "a cell that nbval leaves out": (
        lambda nb: nb.cells[5].update(metadata={"tags": ["nbval-skip"]}),
        "a tag of nbval",
    ),
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

"""The repository itself: notebooks in order, one list of dependencies, a README that says what was measured."""

import ast
import importlib
import itertools
import re
import subprocess
import tomllib

import nbformat
import pytest
import yaml

from k2lib import closure
from k2lib.books import hygiene
from k2lib.places import ROOT
from k2lib.publish import table
from k2lib.report import claims, results
from k2lib.runner.plan import NOTEBOOKS

BOOKS = sorted(NOTEBOOKS.glob("*.ipynb"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT, SETUPTOOLS = PYPROJECT["project"], PYPROJECT["tool"]["setuptools"]


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def canonical_name(requirement: str) -> str:
    return re.match(r"[A-Za-z0-9_.-]+", requirement)[0].lower().replace("_", "-")


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_a_committed_notebook_is_clean(path):
    assert hygiene.problems(path) == []


def test_notebooks_are_numbered_from_00_without_a_gap():
    assert [path.name[:2] for path in BOOKS] == [f"{number:02d}" for number in range(len(BOOKS))]


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_a_notebook_opens_its_own_book_and_records_exactly_its_claims(path):
    code = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    calls = [node for source in code for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    names = {getattr(call.func, "attr", getattr(call.func, "id", "")): call for call in calls}
    assert names["start"].args[0].value == path.stem
    strings = {node.value for source in code for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
    every = {claim.id for claim in claims.load()}
    assert strings & every == {claim.id for claim in claims.of_notebook(path.stem)}


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_all_that_a_page_shows_was_measured_by_a_committed_run_or_is_marked(path):
    """By that very function: where its code has changed since, the page says so."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    _, ledger = results.published(path.stem)
    measured = set()
    for cell in cells:
        printed = "".join(output.get("text", "") for output in cell.outputs)
        for call in (node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call)):
            if getattr(call.func, "attr", "") == "measure":
                name, function = call.args[0].value, call.args[1]
                measured.add(name)
                alias = {a.asname or a.name: a.name for a in _imports(cells, "k2lib.chapters")}[function.value.id]
                module = importlib.import_module(f"k2lib.chapters.{alias}")
                stale = closure.of_function(getattr(module, function.attr)) != ledger.measured[name]["code"]
                assert (f"({name}: the code that measured this has changed since)" in printed) == stale
    assert measured == set(ledger.measured)


def _imports(cells: list, module: str) -> list[ast.alias]:
    nodes = [node for cell in cells for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.ImportFrom)]
    return [alias for node in nodes if node.module == module for alias in node.names]


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.stem)
def test_the_committed_verdicts_are_those_of_the_committed_run(path):
    last = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"][-1]
    run, ledger = results.published(path.stem)
    verdicts = claims.judge_all(ledger.records, run.profile)
    lines = [verdicts[claim.id].sentence() for claim in claims.of_notebook(path.stem)]
    expected = "\n\n".join(lines) or f"{path.stem} finished; it tests no claim of its own"
    assert last.outputs[0].text.strip() == expected, "run `make notebooks`"


def test_every_question_is_answered_under_a_heading_that_exists():
    rows = re.findall(
        r"^\| (\d+) \| .+\? \| (.+) \|$", (NOTEBOOKS / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert [int(number) for number, _ in rows] == list(range(1, 21))
    for _, places in rows:
        for number, heading in re.findall(r"(\d\d), \*(.+?)\*(?:; |$)", places):
            cells = nbformat.read(BOOKS[int(number)], as_version=4).cells
            assert any(re.search(rf"(?m)^#+ {re.escape(heading)}$", cell.source) for cell in cells), heading
        assert re.search(r"\d\d, \*", places)


def test_every_claim_belongs_to_a_notebook_that_exists():
    assert {claim.notebook for claim in claims.load()} - {""} <= {path.stem for path in BOOKS}


def test_dependencies_are_listed_in_pyproject_only():
    names = {path.rsplit("/", 1)[-1] for path in tracked()}
    assert not names & {"requirements.txt", "requirements-dev.txt", "setup.py", "setup.cfg", "Pipfile", "poetry.lock"}
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert [entry.split("=")[0] for entry in conda if isinstance(entry, str)] == ["python", "pip"]
    assert [entry for entry in conda if isinstance(entry, dict)] == [{"pip": ["-c constraints.txt", "-e .[dev]"]}]


def test_no_two_test_files_have_one_name():
    """pytest imports them by their bare names, and would stop at the second."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names))


def test_every_room_is_packaged():
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "k2lib").rglob("*.py")}
    rooms = {".".join(folder.parts) for folder in folders}
    assert set(SETUPTOOLS["packages"]) == rooms | set(SETUPTOOLS["package-dir"])


def test_every_direct_requirement_has_a_tested_version():
    wanted = [*PROJECT["dependencies"], *itertools.chain(*PROJECT["optional-dependencies"].values())]
    wanted = {canonical_name(entry) for entry in wanted} - {"k2lib"}
    wanted = {name for name in wanted if not name.startswith("nvidia-")}  # one CUDA version's, bounded in pyproject
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert wanted <= {canonical_name(line) for line in lines}
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[^+]+", line) for line in lines)


def test_pytorchs_range_admits_the_tested_version():
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text()
    assert any(re.match(r"torch>=2\.\d+,<3", entry) for entry in PROJECT["dependencies"])


def test_readmes_claims_table_is_current():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    inside = readme.split(table.BEGIN)[1].split(table.END)[0].strip()
    assert inside == table.markdown().strip(), "run `k2 readme`"


def test_ci_runs_what_the_readme_says():
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("make test")
    assert "make test" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_nothing_below_imports_the_runner_or_the_command_line():
    top = ("k2lib/runner/", "k2lib/books/", "k2lib/cli/")
    for name in tracked():
        if name.startswith("k2lib/") and name.endswith(".py") and not name.startswith(top):
            assert not re.search(r"(?m)^\s*(from|import) k2lib\.(runner|cli|books)\b", (ROOT / name).read_text()), name


def test_no_file_names_a_directory_of_somebodys_machine():
    home = re.compile(rb"/(home|Users|work)/\w+")
    for name in tracked():
        path = ROOT / name
        if path.suffix in {".py", ".md", ".yaml", ".yml", ".toml", ".ipynb", ".json", ".sh"} and path.is_file():
            assert not home.search(path.read_bytes()), name

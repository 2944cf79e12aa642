"""The repository itself: notebooks in order, one list of dependencies, a README that says what was measured."""

import ast
import itertools
import re
import subprocess
import tomllib

import nbformat
import pytest
import yaml

from k2lib.books import hygiene
from k2lib.places import ROOT
from k2lib.publish import table
from k2lib.report import claims
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
def test_the_committed_verdicts_quote_the_claims_as_they_stand(path):
    last = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"][-1]
    printed = [re.sub(rf"^({'|'.join(claims.VERDICTS)}): ", "", line) for line in last.outputs[0].text.splitlines()]
    quoted = [f"{claim.claim} [{claim.id}, section {claim.section}]" for claim in claims.of_notebook(path.stem)]
    assert printed == (quoted or [f"{path.stem} finished; it tests no claim of its own"]), "run `make notebooks`"


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

"""What a committed notebook must look like, as checks that say how to mend it.

Each rule has cost somebody an afternoon: nbval compares nothing where an output or a count is missing, papermill takes
`sys.exit` for success, a bare expression prints an address that changes, a notebook over a megabyte is not shown.
"""

import ast
import re
from pathlib import Path

import nbformat

from k2lib.books import form
from k2lib.report.picture import MIMETYPE

LONGEST_CELL = 15  # lines; longer logic belongs into k2lib, with a test
LONGEST_LINE = 100  # characters of code
LARGEST_FILE = 1_000_000  # bytes
CARD = ("question", "claims", "smoke", "laptop", "left out")  # what the first cell speaks of
FORBIDDEN = {
    r"%pip|!pip|%conda|!conda": "installs packages; dependencies are pyproject.toml's",
    r"\bsys\.exit|\bos\._exit|raise SystemExit|\bquit\(\)|\bexit\(\)": "exits; papermill takes that for success",
    r"\.show\(\)|\biplot\(|\bplt\.|\bdisplay\(": "draws by itself; figures go through b.show(figure, name)",
    r";\s*$": "ends in a semicolon, which silences nothing under nbval",
}


def problems(path: Path) -> list[str]:
    """Everything that keeps the notebook from being committed; an empty list when it is well."""
    text = Path(path).read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    found = [*_form(notebook, code), *_ending(code)]
    for cell in code:
        found += [f"{cell.id}: {fault}" for fault in (*_source(cell.source), *_outputs(cell))]
    if len(text.encode()) > LARGEST_FILE:
        found.append(f"is {len(text.encode()) / 1e6:.1f} MB; thin the figures' data to stay under 1 MB")
    if not found and nbformat.writes(form.canonical(notebook)).rstrip("\n") + "\n" != text:
        found.append("was edited since it was run, or is not in canonical form; run `make notebooks`")
    return found


def _form(notebook: nbformat.NotebookNode, code: list) -> list[str]:
    found, first = [], notebook.cells[0]
    if first.cell_type != "markdown" or not first.source.startswith("# "):
        found.append("must open with a Markdown cell: the title and the card")
    missing = [word for word in CARD if word not in first.source.lower()]
    if missing:
        found.append(f"the card in the first cell does not speak of: {', '.join(missing)}")
    parameters = [cell for cell in code if "parameters" in cell.metadata.get("tags", [])]
    if len(parameters) != 1 or _assigned(parameters[0].source) != {"profile": "published", "seed": 0}:
        found.append(
            "needs one cell tagged 'parameters' that sets profile = \"published\" and seed = 0, and nothing else"
        )
    if 2 * len(code) > len(notebook.cells):
        found.append(f"has {len(code)} code cells of {len(notebook.cells)}; prose should be at least half")
    return found


def _ending(code: list) -> list[str]:
    if not re.fullmatch(r"\w+\.finish\(\)", code[-1].source):
        return ["the last code cell must be b.finish()"]
    if not any(output.output_type == "stream" and output.text.strip() for output in code[-1].outputs):
        return ["b.finish() has no committed output, so nbval would compare nothing; run `make notebooks`"]
    tagged = [cell.id for cell in code if any(tag.startswith("nbval") for tag in cell.metadata.get("tags", []))]
    return [
        f"{name} has a tag of nbval's; a published page repeats whole, and each of its cells is compared"
        for name in tagged
    ]


def _source(source: str) -> list[str]:
    found = []
    if len(source.splitlines()) > LONGEST_CELL:
        found.append(f"{len(source.splitlines())} lines; at most {LONGEST_CELL}, the rest belongs into k2lib")
    found += [
        f"a line of {len(line)} characters; at most {LONGEST_LINE}"
        for line in source.splitlines()
        if len(line) > LONGEST_LINE
    ]
    for pattern, why in FORBIDDEN.items():
        if re.search(pattern, source, re.MULTILINE):
            found.append(why)
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        return [*found, f"is not plain Python ({error.msg})"]
    bare = [node for node in tree.body if isinstance(node, ast.Expr) and not isinstance(node.value, ast.Call)]
    if bare:
        found.append(f"line {bare[0].lineno} is a bare expression; print it, or give it a name")
    return found


def _outputs(cell: nbformat.NotebookNode) -> list[str]:
    found = []
    if cell.execution_count is None:
        found.append("was not run; run `make notebooks`")
    for output in cell.outputs:
        data = output.get("data", {})
        if output.output_type == "error":
            found.append(f"holds an error: {output.ename}")
        elif output.output_type == "execute_result":
            found.append("shows the value of its last line; print it, or give it a name")
        elif "application/vnd.jupyter.widget-view+json" in data:
            found.append("holds a widget; progress goes through b.progress")
        elif MIMETYPE in data and "image/png" not in data:
            found.append("holds a figure without a picture; install Chromium and run `make notebooks`")
        elif MIMETYPE in data and not output.metadata.get("image/png", {}).get("alt"):
            found.append("holds a figure without words for those who cannot see it; run `make notebooks`")
    return found


def _assigned(source: str) -> dict[str, object]:
    """The names that a cell of plain assignments sets, with their values; {} for any other cell."""
    found = {}
    for node in ast.parse(source).body:
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Constant):
            return {}
        found[node.targets[0].id] = node.value.value
    return found

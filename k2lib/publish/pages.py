"""An executed notebook as a web page, its figures interactive.

The plotly script lies once beside the pages, so they need no network; formulas are typeset by MathJax where there is
one, and stay readable TeX where there is none.
"""

from pathlib import Path

from k2lib.report import claims
from k2lib.report.picture import MIMETYPE
from k2lib.store import write_atomic

SCRIPT = "plotly.min.js"
TEMPLATE = """
{%- extends 'lab/index.html.j2' -%}
{%- block html_head_js_requirejs -%}<script src="SCRIPT"></script>{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}
<script type="text/x-mathjax-config">
MathJax.Hub.Config({messageStyle: "none", tex2jax: {inlineMath: [["$", "$"]], displayMath: [["$$", "$$"]]}});
</script>
<script async src="https://cdnjs.cloudflare.com/ajax/libs/mathjax/2.7.7/latest.js?config=TeX-AMS_CHTML-full,Safe"></script>
{%- endblock -%}
""".replace("SCRIPT", SCRIPT)


def write(root: Path, notebook: str) -> bool:
    """Makes notebooks/<notebook>.html from the executed notebook, unless it is current; whether there is a page."""
    source, page = root / "notebooks" / f"{notebook}.ipynb", root / "notebooks" / f"{notebook}.html"
    if not source.exists():
        return False
    if not page.exists() or page.stat().st_mtime_ns < source.stat().st_mtime_ns:
        write_atomic(page, render(source))
    if not (page.parent / SCRIPT).exists():
        import plotly.offline

        write_atomic(page.parent / SCRIPT, plotly.offline.get_plotlyjs())
    return True


def cells_of_claims(root: Path, notebook: str) -> dict[str, str]:
    """claim id -> id of the cell that names it in the executed notebook, where its page has an anchor."""
    import nbformat

    cells = nbformat.read(root / "notebooks" / f"{notebook}.ipynb", as_version=4).cells
    own = claims.of_notebook(notebook)
    return {
        claim.id: cell.id
        for cell in cells
        if cell.cell_type == "code"
        for claim in own
        if f'"{claim.id}"' in cell.source
    }


def render(source: Path) -> str:
    """The notebook's HTML; it expects plotly's script beside it."""
    import nbformat
    from jinja2 import DictLoader
    from nbconvert import HTMLExporter

    notebook = nbformat.read(source, as_version=4)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            _make_interactive(output.get("data", {}))
    notebook.metadata.pop("widgets", None)
    exporter = HTMLExporter(
        extra_loaders=[DictLoader({"page.html.j2": TEMPLATE})], template_file="page.html.j2", exclude_input_prompt=True
    )
    return exporter.from_notebook_node(notebook, resources={"metadata": {"name": source.stem}})[0]


def _make_interactive(data: dict) -> None:
    import plotly.io

    if MIMETYPE in data:
        figure = data.pop(MIMETYPE)
        data.pop("image/png", None)
        data["text/html"] = plotly.io.to_html(figure, full_html=False, include_plotlyjs=False, validate=False)

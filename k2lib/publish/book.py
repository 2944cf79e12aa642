"""The pages as a small static site (`k2 book`): notebooks to Markdown by nbconvert, Markdown to pages by mkdocs.

Nothing is loaded from a network: plotly's script lies beside the pages, formulas are MathML. It opens from a folder, too.
"""

import re
import shutil
from pathlib import Path

from k2lib.places import NOTEBOOKS, artifacts
from k2lib.report import picture

SETTINGS = {
    "site_name": "Kimi K2, reproduced in parts you can check",
    "theme": {"name": "readthedocs", "highlightjs": False, "navigation_depth": 2},
    "plugins": [],
    "use_directory_urls": False,
    "markdown_extensions": ["tables", "fenced_code"],
    "extra_javascript": ["plotly.min.js", "figures.js"],
    "extra_css": ["tables.css"],
    "validation": {"links": {"anchors": "warn"}},
    "strict": True,  # a link that leads nowhere ends the build
}
TABLES = ".wy-table-responsive table td { white-space: normal; }\n"  # the theme would hide columns behind a scroll bar
FORMULA = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+?)\$", re.DOTALL)


def build(site: Path | None = None, notebooks: Path = NOTEBOOKS) -> Path:
    """Writes the site of the committed notebooks, whole or not at all, and returns its first page."""
    import plotly.offline
    from mkdocs.commands.build import build as mkdocs
    from mkdocs.config import load_config

    site = site or artifacts("book")
    work = site.with_name(f".{site.name}-making")
    shutil.rmtree(work, ignore_errors=True)
    docs, formulas = work / "docs", []
    docs.mkdir(parents=True)
    paths = sorted(notebooks.glob("[0-9][0-9]_*.ipynb"))
    for path in paths:
        (docs / f"{path.stem}.md").write_text(_markdown(path, formulas), encoding="utf-8")
    (docs / "index.md").write_text(_index(notebooks / "README.md", paths), encoding="utf-8")
    (docs / "plotly.min.js").write_text(plotly.offline.get_plotlyjs(), encoding="utf-8")
    (docs / "figures.js").write_text(picture.DRAW, encoding="utf-8")
    (docs / "tables.css").write_text(TABLES, encoding="utf-8")
    nav = [{"Questions": "index.md"}, *({_title(path): f"{path.stem}.md"} for path in paths)]
    where = {"docs_dir": str(docs), "site_dir": str(work / "site"), "nav": nav}
    mkdocs(load_config(config_file=_config(work), **SETTINGS | where))
    (work / "site" / "404.html").unlink()  # of a server, whose root it takes for granted
    for page in (work / "site").glob("*.html"):
        text = page.read_text(encoding="utf-8")
        page.write_text(re.sub(r"K2FORMULA(\d+)K2", lambda found: formulas[int(found[1])], text), encoding="utf-8")
    shutil.rmtree(site, ignore_errors=True)
    (work / "site").rename(site)
    shutil.rmtree(work)
    return site / "index.html"


def _config(work: Path):
    """mkdocs wants a file, if an empty one."""
    path = work / "mkdocs.yml"
    path.write_text("{}\n", encoding="utf-8")
    return str(path)


def _markdown(path: Path, formulas: list[str]) -> str:
    """A notebook as Markdown: figures as places to draw in, formulas as marks that stand for `formulas`."""
    import nbformat
    from nbconvert import MarkdownExporter

    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts = re.split(r"(`[^`]*`)", cell.source)  # code is no formula
            cell.source = "".join(part if part.startswith("`") else _mark(part, formulas) for part in parts)
        for output in cell.get("outputs", []):
            _place(output.get("data", {}))
    text = MarkdownExporter().from_notebook_node(notebook)[0]
    return re.sub(r"\((\d\d_\w+)\.ipynb\)", r"(\1.md)", text)


def _place(data: dict) -> None:
    """Puts the place of an interactive figure where its picture would be."""
    if picture.MIMETYPE not in data:
        return
    data.pop("image/png", None)
    data["text/html"] = f"<div>{picture.place(data.pop(picture.MIMETYPE))}</div>"


def _mark(text: str, formulas: list[str]) -> str:
    """Formulas become marks that Markdown leaves alone, and MathML in `formulas`."""
    from latex2mathml.converter import convert

    def mark(found: re.Match) -> str:
        formulas.append(convert(found[1] or found[2], display="block" if found[1] else "inline"))
        return f"K2FORMULA{len(formulas) - 1}K2"

    return FORMULA.sub(mark, text)


def _index(questions: Path, paths: list[Path]) -> str:
    """The questions, each place a link to its heading."""
    from markdown.extensions.toc import slugify

    pages = {path.stem[:2]: path.stem for path in paths}

    def link(found: re.Match) -> str:
        return f"[{found[1]}, *{found[2]}*]({pages[found[1]]}.md#{slugify(found[2], '-')})"

    return re.sub(r"(\d\d), \*(.+?)\*(?=;| \|)", link, questions.read_text(encoding="utf-8"))


def _title(path: Path) -> str:
    """A notebook's own, from its first line."""
    import nbformat

    return nbformat.read(path, as_version=4).cells[0].source.splitlines()[0].removeprefix("# ")

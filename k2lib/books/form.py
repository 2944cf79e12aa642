"""The one form in which a notebook is committed, and what survives when it is run again.

Ids are c00, c01 …, counts run from 1, there is no stderr, no widget and no timing; chunks of stdout are joined, since
where they break depends on the moment. What surprised: without the hash of what ran (`ran`), nobody can tell a cell
that was edited and not run again from one whose output belongs to it.
"""

import hashlib

import nbformat

from k2lib.report import picture

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def canonical(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A notebook that has just run, in the committed form (changed in place and returned)."""
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    count = 0
    for number, cell in enumerate(notebook.cells):
        tags = sorted(cell.metadata.get("tags", []))
        cell.id, cell.source = f"c{number:02d}", cell.source.rstrip()
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        cell.pop("attachments", None)
        if cell.cell_type == "code":
            count += 1
            cell.execution_count = count
            cell.outputs = _outputs(cell.outputs, count)
    ran = _hash([cell for cell in notebook.cells if cell.cell_type == "code"])
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}, "ran": ran})
    return notebook


def keep(fresh: nbformat.NotebookNode, committed: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """`fresh` with the committed picture of each figure whose data is unchanged, whatever browser and fonts are here."""
    pictures = {
        output.data["text/plain"]: (output.data[picture.MIMETYPE], output.data["image/png"])
        for output in _figures(committed)
        if "image/png" in output.data
    }
    for output in _figures(fresh):
        content, png = pictures.get(output.data["text/plain"], (None, None))
        if content == output.data[picture.MIMETYPE]:
            output.data["image/png"] = png
    return fresh


def _hash(cells: list) -> str:
    """Of the sources that ran."""
    return hashlib.sha256("\0".join(cell.source.rstrip() for cell in cells).encode()).hexdigest()[:12]


def _outputs(outputs: list, count: int) -> list:
    """Without stderr, widgets and metadata but the pictures' words; chunks of stdout joined."""
    kept: list = []
    for output in outputs:
        if output.output_type == "stream":
            if output.name == "stderr":
                continue
            if kept and kept[-1].output_type == "stream":
                kept[-1].text += output.text
                continue
        elif "application/vnd.jupyter.widget-view+json" in output.get("data", {}):
            continue
        if "metadata" in output:
            alt = output.metadata.get("image/png", {}).get("alt")
            output.metadata = nbformat.from_dict({"image/png": {"alt": alt}} if alt else {})
        if output.output_type == "execute_result":
            output.execution_count = count
        output.pop("transient", None)
        kept.append(output)
    return kept


def _figures(notebook: nbformat.NotebookNode) -> list:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output for output in outputs if picture.MIMETYPE in output.get("data", {})]

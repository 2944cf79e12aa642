"""Real text and real code that every machine has: the Python standard library's documentation and sources.

The PSF licence allows reading and using them; nothing of it is redistributed. Three kinds, in turn so that any prefix
is a mixture: the language reference topics of `pydoc`, docstrings of modules and their members, and module sources.
"""

import ast
import itertools
import random
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from k2lib.corpus.documents import Document

LICENCE = "PSF-2.0"
LONGEST = 24_000  # characters of one source document; longer modules are split at top-level definitions
SKIPPED = {"test", "tests", "idlelib", "turtledemo", "lib2to3", "ensurepip", "msilib"}
SKIPPED |= {"site-packages", "dist-packages", "__pycache__"}  # other people's code, under other licences


def stdlib_documents(max_bytes: int, seed: int = 0) -> Iterator[Document]:
    """Documents of the running interpreter's library in a seeded order, until `max_bytes` of UTF-8 text are out."""
    modules = _modules()
    random.Random(seed).shuffle(modules)
    sources = itertools.chain.from_iterable(map(_read_module, modules))
    total = 0
    for document in itertools.chain(_topics(), sources):
        total += len(document.text.encode())
        yield document
        if total >= max_bytes:
            return


def _modules() -> list[Path]:
    root = Path(sysconfig.get_paths()["stdlib"])
    return sorted(p for p in root.rglob("*.py") if not SKIPPED & set(p.relative_to(root).parts[:-1]))


def _topics() -> Iterator[Document]:
    try:
        from pydoc_data.topics import topics
    except ImportError:  # some distributions leave it out
        return
    for name, text in sorted(topics.items()):
        yield Document(
            text, f"pydoc topic {name}, Python {sys.version_info.major}.{sys.version_info.minor}", "stdlib-doc", LICENCE
        )


def _read_module(path: Path) -> Iterator[Document]:
    try:
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
    except (OSError, UnicodeDecodeError, SyntaxError, ValueError):
        return
    name = ".".join(path.relative_to(sysconfig.get_paths()["stdlib"]).with_suffix("").parts)
    documentation = "\n\n".join(_docstrings(tree, name))
    if len(documentation) > 200:
        yield Document(documentation, name, "stdlib-doc", LICENCE)
    for number, part in enumerate(_split(text, tree)):
        if len(part) > 200:
            yield Document(part, f"{name}#{number}", "stdlib-source", LICENCE)


def _docstrings(tree: ast.Module, name: str) -> Iterator[str]:
    if ast.get_docstring(tree):
        yield f"{name}\n\n{ast.get_docstring(tree)}"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and ast.get_docstring(node):
            signature = f"({ast.unparse(node.args)})" if not isinstance(node, ast.ClassDef) else ""
            yield f"{name}.{node.name}{signature}\n\n{ast.get_docstring(node)}"


def _split(text: str, tree: ast.Module) -> Iterator[str]:
    """The source in pieces of at most about LONGEST characters, cut between top-level statements."""
    lines, start, size = text.splitlines(keepends=True), 0, 0
    for node in tree.body:
        end = node.end_lineno or start
        if size > LONGEST:
            yield "".join(lines[start : node.lineno - 1])
            start, size = node.lineno - 1, 0
        size = sum(map(len, lines[start:end]))
    yield "".join(lines[start:])

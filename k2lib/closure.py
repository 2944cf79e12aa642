"""What decides a result: the modules of k2lib that the code which makes it imports, directly or through others.

The files are read and never run, so it costs milliseconds. Comments, docstrings and layout do not count: what is hashed is
the syntax tree without them. A package's `__init__.py` hands names on; of what it imports, only the module that a wanted
name comes from is followed. So an edited trainer trains again, and an edited figure does not.
"""

import ast
import functools
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
# They say how large, where and under what name; a key holds all of that itself, as values.
IN_THE_KEY = ("k2lib.profiles", "k2lib.sizes", "k2lib.machine", "k2lib.store", "k2lib.closure", "k2lib.places")


def of_function(function: Callable) -> str:
    """The hash over the closure of the module in which a function stands."""
    return digest(closure(function.__module__))


def of_source(source: str) -> str:
    """The hash over the closure of some code that imports from k2lib, such as a notebook's cells.

    Code that does not parse stands on nothing: running it will say why.
    """
    try:
        return digest(_follow(ast.parse(source), set()))
    except SyntaxError:
        return ""


def closure(module: str) -> set[Path]:
    """The files of k2lib that `module` ("k2lib.stages.base") stands on, its own among them."""
    return _visit(module, None, set())


def digest(files: set[Path]) -> str:
    """One hash over files: their paths in the package, and their code without comments and docstrings."""
    total = hashlib.sha256()
    for path in sorted(files):
        total.update(f"{path.relative_to(PACKAGE)}\0{ast.dump(_bare(path, path.stat().st_mtime_ns))}\0".encode())
    return total.hexdigest()[:16]


def _visit(module: str, name: str | None, seen: set[Path]) -> set[Path]:
    """Adds to `seen` the files behind `module`, or behind one `name` of it, and returns it."""
    path = _file(module)
    if path is None or module in IN_THE_KEY:
        return seen
    if path.name == "__init__.py" and name is not None:
        if _file(f"{module}.{name}"):
            return _visit(f"{module}.{name}", None, seen)
        for source, original in _imports(_bare(path, path.stat().st_mtime_ns)):
            if original[1] == name:
                return _visit(source, original[0], seen)
    if path not in seen:
        seen.add(path)
        _follow(_bare(path, path.stat().st_mtime_ns), seen)
    return seen


def _follow(tree: ast.Module, seen: set[Path]) -> set[Path]:
    """Visits all that some code imports; of a package that it calls by name, what it takes from there."""
    for module, (name, own) in _imports(tree):
        whole = f"{module}.{name}" if name and _file(f"{module}.{name}") else None
        taken = _attributes(tree, own) if whole and _file(whole).name == "__init__.py" else set()
        for attribute in taken:
            _visit(whole, attribute, seen)
        if not taken:
            _visit(module, name, seen)
    return seen


def _imports(tree: ast.Module) -> Iterator[tuple[str, tuple[str | None, str]]]:
    """(module, (name in it, name here)) of every import from k2lib, those inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "k2lib":
            yield from ((node.module, (alias.name, alias.asname or alias.name)) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, (None, "")) for alias in node.names if alias.name.split(".")[0] == "k2lib")


def _attributes(tree: ast.Module, name: str) -> set[str]:
    """What is read from `name`: {"base"} for a tree that holds stages.base."""
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    return {node.attr for node in nodes if isinstance(node.value, ast.Name) and node.value.id == name}


def _file(module: str) -> Path | None:
    """The file of a module of k2lib, or of a package its __init__.py; None for anything else."""
    if module.split(".")[0] != "k2lib":
        return None
    path = PACKAGE.joinpath(*module.split(".")[1:])
    found = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return found if found.is_file() else None


@functools.lru_cache(maxsize=1024)
def _bare(path: Path, _modified: int) -> ast.Module:
    """The syntax tree of a file without its docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_text(body[0]):
            del body[0]
    return tree


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)

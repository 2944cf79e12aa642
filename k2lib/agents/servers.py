"""Tool servers by others that are really executed (section 3.1: real tools through the Model Context Protocol).

Each comes from its package registry into a folder of its own, with the versions named here: their dependencies exclude each other.
They run in the sandbox, where neither what a model asks of them nor they themselves can reach the host or a network.
"""

import functools
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from k2lib import places
from k2lib.sandbox import languages


@dataclass(frozen=True)
class Server:
    """`command` starts it in the sandbox's working folder, where `prepare`, a line of bash, ran before."""

    name: str
    command: tuple[str, ...]
    folders: tuple[Path, ...] = ()  # of the host, beside /usr, that it needs to read
    prepare: str = ":"


@dataclass(frozen=True)
class Package:
    what: str
    requirements: tuple[str, ...]  # exact versions, of PyPI or npm
    start: tuple[str, ...]  # a script in its folder, and its arguments
    prepare: str = ":"

    @property
    def of_npm(self) -> bool:
        return self.requirements[0].startswith("@")


NPM = "@modelcontextprotocol/server"
REPOSITORY = (
    "git init -q -b main && git config user.name Ada && git config user.email ada@example.org && "
    "echo 'A notebook of recipes.' > README.md && git add . && git commit -qm 'Begin'"
)
PACKAGES = {
    "git": Package(
        "a Git repository: status, log, diff, add, commit, branches",
        ("mcp-server-git==2026.10.19",),
        ("bin/mcp-server-git", "--repository", "."),
        REPOSITORY,
    ),
    "time": Package(
        "the time, and in another zone",
        ("mcp-server-time==2026.10.19",),
        ("bin/mcp-server-time", "--local-timezone", "UTC"),
    ),
    "sqlite": Package(
        "a database: tables made, read and written by SQL",
        ("mcp-server-sqlite==2025.4.25", "mcp[cli]>=1.6,<2"),
        ("bin/mcp-server-sqlite", "--db-path", "data.db"),
    ),
    "files": Package(
        "a folder: files read, written, edited, searched",
        (f"{NPM}-filesystem@2026.8.31",),
        (f"node_modules/{NPM}-filesystem/dist/index.js", "."),
        "mkdir notes && echo 'Buy milk.' > notes/today.txt",
    ),
    "memory": Package(
        "a graph of things, their relations and what was observed of them",
        (f"{NPM}-memory@2026.8.31",),
        (f"node_modules/{NPM}-memory/dist/index.js",),
        'export MEMORY_FILE_PATH="$HOME/memory.jsonl"',
    ),
}


def folder(name: str) -> Path:
    """Where a known server's package lies once it is there. ValueError for an unknown name."""
    if name not in PACKAGES:
        raise ValueError(f"unknown server {name!r}; known are {', '.join(PACKAGES)}")
    return places.artifacts() / "servers" / name


def have(name: str) -> bool:
    return folder(name).is_dir()


def known(name: str) -> Server:
    """A known server, brought from its registry unless it is there. RuntimeError says what pip or npm said."""
    target, package = folder(name), PACKAGES[name]
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            made = Path(scratch) / "made"
            made.mkdir(mode=0o755)
            _fetch(package, made)
            made.rename(target)
    script, *rest = package.start
    if package.of_npm:
        return Server(name, (_node(), f"{target}/{script}", *rest), (target,), package.prepare)
    python = languages.find("python")
    command = ("env", f"PYTHONPATH={target}", python.command[0], "-s", "-B", f"{target}/{script}", *rest)
    return Server(name, command, (target, *python.folders), package.prepare)


def _fetch(package: Package, into: Path) -> None:
    if package.of_npm:
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(into)]
        if shutil.which("npm") is None:
            raise RuntimeError(f"{package.requirements[0]} needs npm (Debian: apt install npm)")
    else:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(into), "--only-binary=:all:"]
        command += ["--python-version", _version(languages.find("python").command[0])]
    done = subprocess.run([*command, *package.requirements], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        why = (done.stderr.strip() or done.stdout.strip() or "no word").splitlines()[-1]
        raise RuntimeError(f"{package.requirements[0]} could not be fetched: {why[:300]}")


@functools.cache
def _version(python: str) -> str:
    code = "import sys; print('.'.join(map(str, sys.version_info[:2])))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def _node() -> str:
    found = shutil.which("node", path="/usr/local/bin:/usr/bin:/bin")
    if found is None:
        raise RuntimeError("this server needs Node.js in /usr (Debian: apt install nodejs)")
    return found

"""A program that nobody vouches for, run where it can do no harm.

Linux only: namespaces by bubblewrap, a filter of system calls by libseccomp, limits by prlimit and from outside. Root gives itself
up before bubblewrap starts, since a root that only looks like nobody from inside can still write to the host's kernel.
"""

import contextlib
import functools
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import BinaryIO

from k2lib.sandbox import command, languages, seccomp
from k2lib.sandbox.limits import Limits, Result, Status
from k2lib.sandbox.process import Ended, follow

MOST_FILES = 256
LONGEST_NAME, LONGEST_PATH = 255, 1024  # bytes
MOST_BYTES = 16 << 20  # of code, files and input together
REMEDY = (
    "install bubblewrap, 0.8 or later, and util-linux (Debian: apt install bubblewrap) and `pip install k2lib[sandbox]`"
)
OUT_OF_MEMORY = re.compile(rb"^MemoryError\b.*\Z", re.MULTILINE)


class SandboxError(RuntimeError):
    """The sandbox did not work. Says nothing about the program: such a run is void, no failure of it."""


def run(
    code: str,
    language: str = "python",
    stdin: str | bytes = "",
    files: Mapping[str, str | bytes] | None = None,
    limits: Limits = Limits(),
    arguments: tuple[str, ...] = (),
) -> Result:
    """Runs a program and tells how it ended.

    `files`: what lies beside it, by relative paths; it may write there, and nothing of it comes back but what it prints.
    ValueError for a language or file that cannot be, SandboxError where the sandbox does not work.
    """
    found = languages.find(language)
    given = {name: _bytes(content) for name, content in (files or {}).items()} | {found.file: _bytes(code)}
    _checked(given, files or {}, _bytes(stdin))
    if (why := unavailable()) is not None:
        raise SandboxError(why)
    return _result(_started(found, given, _bytes(stdin), limits, arguments), limits)


def unavailable() -> str | None:
    """Why no program can be run here and what helps; None where all is well."""
    if not sys.platform.startswith("linux"):
        return f"the sandbox needs Linux, this is {sys.platform}; a container or virtual machine of Linux has it"
    try:
        tried()
    except (OSError, ImportError, ValueError, SandboxError) as error:
        return f"the sandbox does not work here ({error}): {REMEDY}"
    return None


@functools.cache  # of a success; a failure may pass
def tried() -> None:
    """Runs a first program. SandboxError, OSError, ImportError or ValueError where that fails."""
    ended = _started(languages.find("bash"), {languages.FILES["bash"]: b"echo works"}, b"", Limits(), ())
    if ended.stdout != b"works\n":
        raise SandboxError(ended.stderr.decode(errors="replace").strip()[:300])


def _started(
    language: languages.Language, files: dict[str, bytes], stdin: bytes, limits: Limits, arguments: tuple[str, ...]
) -> Ended:
    with contextlib.ExitStack() as open_files:
        data = {name: open_files.enter_context(_file(content)).fileno() for name, content in files.items()}
        calls = open_files.enter_context(_file(seccomp.compiled())).fileno()
        status, ours = os.pipe()
        open_files.callback(os.close, status)
        walls = command.walls(limits, language.folders, data, calls, ours)
        try:
            sandbox = subprocess.Popen(
                [*command.nobody(), *walls, *language.command, f"{command.HOME}/{language.file}", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(*data.values(), calls, ours),
                env={},
            )
        finally:
            os.close(ours)
        with sandbox:
            ended = follow(sandbox, status, stdin, limits)
    if ended.code is None and not ended.killed:
        raise SandboxError(ended.stderr.decode(errors="replace").strip()[:300] or "bubblewrap ended without a word")
    return ended


def _file(content: bytes) -> BinaryIO:
    """An open file without a name, that nothing but its descriptor leads to."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 (the caller closes it)
    file.write(content)
    file.seek(0)
    return file


def _result(ended: Ended, limits: Limits) -> Result:
    most, out, err = limits.output_bytes, bytes(ended.stdout), bytes(ended.stderr)
    code = None if ended.killed else ended.code
    status = ended.killed or _status(code, err, ended.seconds, limits)
    return Result(status, code, out[:most], err[: max(0, most - len(out))], ended.seconds)


def _status(code: int, stderr: bytes, seconds: float, limits: Limits) -> Status:
    if code == 0:
        return "ok"
    if code == 128 + signal.SIGSYS:
        return "policy"
    used_up = seconds >= limits.cpu_seconds / (os.cpu_count() or 1)
    if code == 128 + signal.SIGXCPU or (code == 128 + signal.SIGKILL and used_up):
        return "timeout"
    return "memory" if OUT_OF_MEMORY.search(stderr.rstrip()) else "error"


def _bytes(content: str | bytes) -> bytes:
    return content.encode("utf-8", "surrogatepass") if isinstance(content, str) else bytes(content)


def check_paths(names: Iterable[str]) -> None:
    """ValueError for names that the files of one program cannot have, which the sandbox would fail on."""
    names = list(names)
    for name in names:
        path = PurePosixPath(name)
        if not name or "\0" in name or path.is_absolute() or ".." in path.parts or str(path) != name or name == ".":
            raise ValueError(f"the file {name!r} needs a relative path without '..', like 'package/module.py'")
        if len(name.encode()) > LONGEST_PATH or any(len(part.encode()) > LONGEST_NAME for part in path.parts):
            raise ValueError(f"the file {name[:80]!r}… has too long a name")
        if name in languages.FILES.values():
            raise ValueError(f"the file {name!r} is the program itself; give yours another name")
    folders = {str(folder): name for name in names for folder in PurePosixPath(name).parents}
    for name in names:
        if name in folders:
            raise ValueError(f"{name!r} is a file, and the folder of {folders[name]!r}")


def _checked(given: dict[str, bytes], files: Mapping[str, object], stdin: bytes) -> None:
    check_paths(files)
    if len(given) > MOST_FILES:
        raise ValueError(f"{len(given) - 1} files, {MOST_FILES - 1} are the most")
    if (size := sum(map(len, given.values())) + len(stdin)) > MOST_BYTES:
        raise ValueError(f"code, files and input have {size:,} bytes, {MOST_BYTES:,} are the most")

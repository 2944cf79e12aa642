"""A program's run: its input, its files, its output, its end; and what is refused before anything runs."""

import dataclasses
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from k2lib import sandbox
from k2lib.sandbox import Limits, Program, running
from k2lib.sandbox.process import memory

works = pytest.mark.skipif(sandbox.unavailable() is not None, reason=str(sandbox.unavailable()))


@works
def test_input_goes_in_and_output_comes_out():
    result = sandbox.run(
        "import sys; print(sys.stdin.read().upper(), end=''); print('seen', file=sys.stderr)", stdin="π and é\n"
    )
    assert (result.status, result.exit_code, result.stdout, result.stderr) == ("ok", 0, "Π AND É\n", "seen\n")
    assert 0 < result.seconds < 60


@works
def test_a_long_input_that_nobody_reads_blocks_nothing():
    assert sandbox.run("print('early')", stdin="x" * 5_000_000).stdout == "early\n"
    assert sandbox.run("import sys; print(len(sys.stdin.read()))", stdin="x" * 5_000_000).stdout == "5000000\n"


@works
def test_files_and_arguments_lie_where_the_program_runs():
    files = {"data/numbers.txt": "1 2 3", "table.bin": b"\x00\xff"}
    code = (
        "import sys\nprint(sum(map(int, open('data/numbers.txt').read().split())), open('table.bin', 'rb').read(), sys.argv[1:])\n"
        "open('data/new', 'w').write('x'); print(open('data/new').read())"
    )
    assert sandbox.run(code, files=files, arguments=("a b",)).stdout == "6 b'\\x00\\xff' ['a b']\nx\n"
    assert sandbox.run('cat data/numbers.txt; echo "$1"; exit 3', "bash", files=files, arguments=("é",)).exit_code == 3


@works
@pytest.mark.parametrize(
    ("code", "status", "exit_code"),
    [
        ("raise SystemExit(7)", "error", 7),
        ("1 / 0", "error", 1),
        ("import os; os.kill(os.getpid(), 9)", "error", 128 + signal.SIGKILL),
        ("import os; os.abort()", "error", 128 + signal.SIGABRT),
        ("raise MemoryError", "memory", 1),
        ("print('MemoryError')", "ok", 0),
    ],
)
def test_how_a_program_ends(code, status, exit_code):
    result = sandbox.run(code)
    assert (result.status, result.exit_code) == (status, exit_code)


@works
def test_each_run_finds_an_empty_folder():
    leave = "import os; print(os.listdir('.')); open('left', 'w').close()"
    assert sandbox.run(leave).stdout == sandbox.run(leave).stdout == "['program.py']\n"


@pytest.mark.parametrize("name", ["", ".", "/etc/x", "../x", "a/../../x", "a//b", "./a", "a/", "nul\0"])
def test_a_file_outside_the_folder_is_refused(name):
    with pytest.raises(ValueError, match="relative path"):
        sandbox.run("", files={name: "x"})


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b/c", "a/b"), ("x" * 256,), ("x/" * 600 + "x",), ("\ud800",)])
def test_files_that_the_sandbox_would_fail_on_are_refused(names):
    with pytest.raises(ValueError):
        sandbox.run("", files=dict.fromkeys(names, ""))


def test_what_cannot_run_is_refused():
    with pytest.raises(ValueError, match="no 'cobol'; it runs python and bash"):
        sandbox.run("", "cobol")
    with pytest.raises(ValueError, match="is the program itself"):
        sandbox.run("", files={"program.py": ""})
    with pytest.raises(ValueError, match="300 files, 255 are the most"):
        sandbox.run("", files={str(i): "" for i in range(300)})
    with pytest.raises(ValueError, match="bytes, 16,777,216 are the most"):
        sandbox.run("", stdin="x" * (17 << 20))


@pytest.mark.parametrize(
    ("name", "value"), [("wall_seconds", 0), ("memory_mb", 1.5), ("processes", True), ("cpu_seconds", -1)]
)
def test_a_limit_that_is_none_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} is {value!r}"):
        Limits(**{name: value})


def test_where_no_sandbox_works_nothing_runs(monkeypatch):
    """No bubblewrap: an error that says what to install, never a bare process."""
    monkeypatch.setattr("k2lib.sandbox.command.shutil.which", lambda name, path=None: "/nowhere/bwrap")
    running.tried.cache_clear()
    try:
        with pytest.raises(sandbox.SandboxError, match="apt install bubblewrap"):
            sandbox.run("print('ran')")
        assert sandbox.run_many([Program("print('ran')")]) == [None]
        graded = sandbox.grade("print(1)", [sandbox.Case("", "1")])
        assert graded.passed is None and graded.share is None and graded.why == ("void",)
    finally:
        monkeypatch.undo()
        running.tried.cache_clear()


VOID = """
from k2lib import sandbox
try:
    print(sandbox.run("import time; time.sleep(3600.75)"))
except sandbox.SandboxError:
    print("void")
"""


@works
def test_a_sandbox_that_is_killed_from_outside_is_void():
    child = subprocess.Popen([sys.executable, "-c", VOID], stdout=subprocess.PIPE, text=True)
    while not any(
        b"program.py" in line and b"bwrap" not in line and pid in _below(child.pid) for pid, line in _commands()
    ):
        assert child.poll() is None
        time.sleep(0.01)
    (outer,) = (pid for pid, line in _commands() if b"bwrap" in line and _parent(pid) == child.pid)
    os.kill(outer, signal.SIGKILL)
    assert child.communicate()[0] == "void\n"


def _commands() -> list[tuple[int, bytes]]:
    out = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            out.append((int(path.parent.name), path.read_bytes()))
        except OSError:
            continue
    return out


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def test_what_the_host_holds_is_no_sandbox_memory():
    """A sandbox whose walls are not yet up still sees the host's /proc, and must not be judged by it."""
    assert memory(os.getpid()) == 0
    assert memory(None) == memory(2**22 + 1) == 0


@works
def test_a_thousand_mixed_programs_leave_nothing_behind():
    rng = random.Random(0)
    kinds = {
        "print(1)": "ok",
        "1 / 0": "error",
        "x = bytearray(3 << 30)": "memory",
        "while True: print('x' * 9999)": "output",
        "import os\nif os.fork() == 0:\n    os.setsid()\n    import time; time.sleep(3600)": "ok",
        "import os; os.close(1); os.close(2)": "ok",
    }
    short = dataclasses.replace(Limits(), wall_seconds=30)
    sandbox.run("print(1)")
    before, files = _below(os.getpid()), len(os.listdir("/proc/self/fd"))
    chosen = [rng.choice(list(kinds)) for _ in range(1000)]
    results = sandbox.run_many([Program(code, limits=short) for code in chosen], workers=4)
    assert [r.status for r in results] == [kinds[code] for code in chosen]
    assert _below(os.getpid()) <= before
    assert len(os.listdir("/proc/self/fd")) == files


def _below(ancestor: int) -> set[int]:
    """The processes that one started, and theirs."""
    found, parents = set(), {pid: _parent(pid) for pid, _ in _commands()}
    for pid in parents:
        at = parents[pid]
        while at in parents and at != ancestor:
            at = parents[at]
        if at == ancestor:
            found.add(pid)
    return found

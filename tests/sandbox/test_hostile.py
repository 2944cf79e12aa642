"""Hostile programs: none reaches its aim, each ends as it must, and nothing of it is left."""

import dataclasses
import os
import platform
import subprocess
import sys
from pathlib import Path

import escapes
import pytest

from k2lib import sandbox
from k2lib.sandbox import Limits

pytestmark = pytest.mark.skipif(sandbox.unavailable() is not None, reason=str(sandbox.unavailable()))
TIGHT = Limits(
    wall_seconds=60, cpu_seconds=2, memory_mb=400, files_mb=32
)  # a loaded machine is slow by the clock on the wall
IMPATIENT = dataclasses.replace(TIGHT, wall_seconds=3)
EVERY = escapes.PROGRAMS + (escapes.X86 if platform.machine() == "x86_64" else [])


@pytest.mark.parametrize("program", EVERY, ids=lambda program: program.name)
def test_a_hostile_program_does_not_reach_its_aim(program, monkeypatch):
    monkeypatch.setenv("SECRET", "SECRET")
    result = sandbox.run(program.code, limits=IMPATIENT if program.waits else TIGHT)
    assert "REACHED" not in result.stdout
    assert result.status in program.ends, result
    assert len(result.out) + len(result.err) <= TIGHT.output_bytes


@pytest.mark.parametrize("name", ["descriptors", "/etc/passwd", "host's processes", "another's environment", "sleep"])
def test_the_same_programs_reach_it_outside(name):
    """Else the tests above could not fail."""
    (program,) = (one for one in EVERY if one.name == name)
    if name == "sleep":
        with pytest.raises(subprocess.TimeoutExpired):
            subprocess.run([sys.executable, "-c", program.code], timeout=1)
        return
    code = program.code.replace("/proc/1/environ", "/proc/self/environ").replace("range(5000)", "range(200)")
    found = subprocess.run(
        [sys.executable, "-c", code], env={"A": "SECRET"}, capture_output=True, text=True, check=True
    )
    assert "REACHED" in found.stdout


def test_a_daemon_dies_with_its_sandbox(tmp_path):
    marked = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(3600.25)\nprint('left', flush=True)"
    assert sandbox.run(marked, limits=TIGHT).stdout == "left\n"
    assert not [p for p in Path("/proc").glob("[0-9]*/cmdline") if b"3600.25" in _read(p)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_the_program_is_nobody_on_the_host_too():
    """Root inside a user namespace of root's is root for files and for the kernel's settings."""
    if os.geteuid() != 0:
        pytest.skip("started by a user, the sandbox is that user's")
    code = "import os, time\nprint(os.getuid(), flush=True)\ntime.sleep(3600.5)"
    child = subprocess.Popen([sys.executable, "-c", f"from k2lib import sandbox\nsandbox.run({code!r})"])
    try:
        seen = set()
        while not seen and child.poll() is None:
            for folder in Path("/proc").glob("[0-9]*"):
                if b"program.py" in _read(folder / "cmdline") and b"bwrap" not in _read(folder / "cmdline"):
                    uids = next(
                        (line for line in _read(folder / "status").splitlines() if line.startswith(b"Uid")), b""
                    )
                    seen.add(tuple(uids.split()[1:]))
        assert seen == {(b"65534",) * 4}
    finally:
        child.kill()
        child.wait()


def test_what_a_program_says_cannot_steer_a_terminal():
    result = sandbox.run(r"import sys; sys.stdout.buffer.write(b'\x1b]0;owned\x07 \xff\x00 a\n')")
    assert result.out == b"\x1b]0;owned\x07 \xff\x00 a\n"
    assert sandbox.shown(result.stdout) == "\\x1b]0;owned\\x07 \\xff\\x00 a\n"


def test_a_limit_is_the_callers():
    assert sandbox.run("print('x' * 100)", limits=dataclasses.replace(TIGHT, output_bytes=50)).status == "output"
    held = "x = bytearray(150 << 20); x[::4096] = b'x' * len(x[::4096]); import time; time.sleep(1); print('held')"
    patient = Limits(wall_seconds=60)
    assert sandbox.run(held, limits=patient).stdout == "held\n"
    assert sandbox.run(held, limits=dataclasses.replace(TIGHT, memory_mb=100)).status == "memory"

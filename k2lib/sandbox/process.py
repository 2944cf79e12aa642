"""A running sandbox, seen from the host: its output is read and counted, its memory watched, and all of it killed at once."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from k2lib.sandbox.command import MEGABYTE
from k2lib.sandbox.limits import Limits

LOOK = 0.05  # seconds between two looks at the memory
CHUNK = 65_536
PAGE = os.sysconf("SC_PAGE_SIZE")
FILE = 1024  # bytes of the kernel's memory that an empty file takes
FOLDERS = ("tmp", "dev/shm")  # where a program can write


@dataclass
class Ended:
    killed: str = ""  # the limit that it passed
    code: int | None = None  # as a shell would give it; None if no program was seen to end
    seconds: float = 0.0
    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)


def follow(sandbox: subprocess.Popen, status: int, stdin: bytes, limits: Limits) -> Ended:
    """Feeds and reads a started bubblewrap until all that it started is gone. `status` is where its news can be read."""
    began = looked = time.monotonic()
    ended, news, left = Ended(), bytearray(), memoryview(stdin)
    kept = {sandbox.stdout.fileno(): ended.stdout, sandbox.stderr.fileno(): ended.stderr}
    end = os.pidfd_open(sandbox.pid)
    for descriptor in (*kept, status, sandbox.stdin.fileno()):
        os.set_blocking(descriptor, False)
    with selectors.DefaultSelector() as waiting:
        for descriptor in (*kept, end):
            waiting.register(descriptor, selectors.EVENT_READ)
        waiting.register(sandbox.stdin.fileno(), selectors.EVENT_WRITE)
        try:
            while end in waiting.get_map() or kept.keys() & waiting.get_map().keys():
                for key, _ in waiting.select(LOOK):
                    if key.fd == end:
                        waiting.unregister(end)
                    elif key.fd in kept:
                        if not _read(key.fd, kept[key.fd]):
                            waiting.unregister(key.fd)
                    else:
                        left = _write(key.fd, left)
                        if not left:
                            waiting.unregister(key.fd)
                            sandbox.stdin.close()
                now = time.monotonic()
                if sum(map(len, kept.values())) > limits.output_bytes:
                    ended.killed = "output"
                elif now - began > limits.wall_seconds:
                    ended.killed = "timeout"
                elif now - looked > LOOK:
                    looked = now
                    _read(status, news)
                    if memory(_told(news, "child-pid")) > limits.memory_mb * MEGABYTE:
                        ended.killed = "memory"
                if ended.killed:
                    break
        finally:  # an interrupted host leaves nothing behind either
            _read(status, news)
            _kill(sandbox, _told(news, "child-pid"))
            os.close(end)
    _read(status, news)
    ended.code, ended.seconds = _told(news, "exit-code"), time.monotonic() - began
    return ended


def memory(init: int | None) -> int:
    """Bytes that a sandbox holds, whose first process is `init`: its processes' own pages, its files, and the kernel's part of them.

    0 once it is gone. Read through the sandbox's own /proc and /tmp, which show nobody else's.
    """
    if init is None:
        return 0
    root, total = Path(f"/proc/{init}/root"), 0
    with contextlib.suppress(OSError):
        if root.samefile("/"):  # bubblewrap has not yet put up its walls: what is seen there is the host's
            return 0
        for name in filter(str.isdigit, os.listdir(root / "proc")):
            with contextlib.suppress(OSError):
                _, resident, shared, *_ = (root / "proc" / name / "statm").read_text().split()
                total += (int(resident) - int(shared)) * PAGE
        for folder in FOLDERS:
            held = os.statvfs(root / folder)
            total += (held.f_blocks - held.f_bfree) * held.f_frsize + (held.f_files - held.f_ffree) * FILE
    return total


def _kill(sandbox: subprocess.Popen, init: int | None) -> None:
    """Ends the first process of the sandbox's namespace, and with it every other, and waits until they are gone."""
    if init is not None and sandbox.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            first = os.pidfd_open(init)
            try:
                signal.pidfd_send_signal(first, signal.SIGKILL)
                with selectors.DefaultSelector() as waiting:
                    waiting.register(first, selectors.EVENT_READ)
                    waiting.select()
            finally:
                os.close(first)
    sandbox.kill()
    sandbox.wait()


def _read(descriptor: int, into: bytearray) -> bool:
    """Adds what can be read at once. False at the end of the stream."""
    try:
        part = os.read(descriptor, CHUNK)
    except BlockingIOError:
        return True
    into += part
    return bool(part)


def _write(descriptor: int, left: memoryview) -> memoryview:
    """What is left to be written; nothing once the program reads no more."""
    try:
        return left[os.write(descriptor, left[:CHUNK]) :] if left else left
    except BlockingIOError:
        return left
    except BrokenPipeError:
        return left[:0]


def _told(news: bytearray, name: str) -> int | None:
    """A number from bubblewrap's lines of JSON."""
    for line in news.splitlines():
        with contextlib.suppress(ValueError):
            if name in (found := json.loads(line)):
                return found[name]
    return None

"""What a program in the sandbox may use, and how its run ended."""

from dataclasses import dataclass, fields
from typing import Literal

Status = Literal["ok", "error", "timeout", "memory", "output", "policy"]


@dataclass(frozen=True)
class Limits:
    """ValueError for a limit that is no positive number."""

    wall_seconds: float = 10.0
    cpu_seconds: int = 5  # of each process
    memory_mb: int = 512  # of all its processes together, and of its files
    processes: int = 32  # and threads
    open_files: int = 128  # of each process
    output_bytes: int = 65_536  # of stdout and stderr together
    files_mb: int = 64  # that its files may hold, all together

    def __post_init__(self):
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            whole = name != "wall_seconds"
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not 0 < value < 1e9:
                raise ValueError(f"{name} is {value!r}, not a positive {'whole ' if whole else ''}number")


@dataclass(frozen=True)
class Result:
    """How a program ended, and what it wrote: `out` and `err` are its bytes, up to the limit, `stdout` and `stderr` the same as text."""

    status: Status
    exit_code: int | None  # 128 + n after signal n; None if the sandbox ended it
    out: bytes
    err: bytes
    seconds: float  # by the clock on the wall

    @property
    def stdout(self) -> str:
        """Bytes that are no UTF-8 are spelled out, as \\xff."""
        return self.out.decode("utf-8", "backslashreplace")

    @property
    def stderr(self) -> str:
        return self.err.decode("utf-8", "backslashreplace")


def shown(text: str) -> str:
    """Text for a person's eyes: characters that would steer a terminal are spelled out."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)

"""Many programs at a time: over this machine's cores, or over a cluster of Ray."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import joblib

from k2lib.sandbox.limits import Limits, Result
from k2lib.sandbox.running import SandboxError, run

TRIES = 2  # of a sandbox that fails, not of a program that does


@dataclass(frozen=True)
class Program:
    """What `run` takes."""

    code: str
    language: str = "python"
    stdin: str | bytes = ""
    files: Mapping[str, str | bytes] | None = None
    limits: Limits = Limits()
    arguments: tuple[str, ...] = ()


def run_many(
    programs: Iterable[Program], workers: int | None = None, engine: Literal["local", "ray"] = "local"
) -> list[Result | None]:
    """How each ended, in order; None is void: the sandbox failed twice, which says nothing about the program.

    workers: at a time; as many as there are cores unless it is given. Engine "ray": on the cluster that RAY_ADDRESS names, else on
    one of this machine. ValueError for a program that `run` refuses.
    """
    if engine not in ("local", "ray"):
        raise ValueError(f"no engine {engine!r}; there are local and ray")
    if engine == "ray":
        from ray.util.joblib import register_ray

        register_ray()
    # a thread waits while its sandbox works; Ray's workers are processes, wherever they are
    with joblib.parallel_config(backend="threading" if engine == "local" else "ray"):
        return joblib.Parallel(n_jobs=workers or -1)(joblib.delayed(tried)(program) for program in programs)


def tried(program: Program) -> Result | None:
    """How a program ended; None if the sandbox failed as often as it may."""
    for _ in range(TRIES):
        try:
            return run(program.code, program.language, program.stdin, program.files, program.limits, program.arguments)
        except SandboxError:
            continue
    return None

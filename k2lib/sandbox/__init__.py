"""Where code that a model wrote is run: no network, no files of the host, limits on all that it uses."""

from k2lib.sandbox.grading import Case, Grade, grade
from k2lib.sandbox.limits import Limits, Result, shown
from k2lib.sandbox.pool import Program, run_many
from k2lib.sandbox.running import SandboxError, check_paths, run, unavailable

__all__ = [
    "Case",
    "Grade",
    "Limits",
    "Program",
    "Result",
    "SandboxError",
    "check_paths",
    "grade",
    "run",
    "run_many",
    "shown",
    "unavailable",
]

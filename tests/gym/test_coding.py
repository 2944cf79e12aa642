"""Coding: references pass, and programs that cheat, hang or print too much do not."""

import pytest

from k2lib.gym.coding import ENDS, STEPS, Coding, coding, program
from k2lib.sandbox import unavailable

pytestmark = pytest.mark.skipif(unavailable() is not None, reason="no sandbox works here")
ONE = Coding(("keep the even ones",), "print their sum", 0)


def score(problem, text, faults=()):
    episode = problem.episode()
    episode.step({"role": "assistant", "content": text}, list(faults))
    assert episode.over
    return episode.score()


def test_every_step_and_end_has_a_program_that_does_it():
    for step in STEPS:
        assert Coding((step,), "print them with spaces between", 1).demonstration()["verdict"]["passed"], step
    for end in ENDS:
        assert Coding(("double each", "sort them", "drop the first"), end, 2).demonstration()["verdict"]["passed"], end


@pytest.mark.parametrize(
    "text",
    [
        "",
        "print(0)",
        "import sys; sys.exit(0)",
        "import os; os._exit(0)",
        "print('all tests passed')",
        "while True: pass",
        "print('9' * 10**8)",
        "raise SystemExit",
        "def main(): pass",
        "print(sum(x for x in map(int, input().split())))",
        "```python\nprint(sum(x for x in map(int, input().split()) if x % 2 == 0))",  # no end
        "```python\nright\n```\nno program\n```python\nprint(1)\n```",
        "import builtins; builtins.print = lambda *_: None",
        "open('/etc/passwd').read()",
    ],
)
def test_what_is_not_rewarded(text):
    assert score(ONE, text) == 0.0


def test_a_right_program_in_any_wrapping():
    code = "print(sum(x for x in map(int, input().split()) if x % 2 == 0))"
    assert score(ONE, code) == score(ONE, f"Here it is:\n```\n{code}\n```\nDone.") == 1.0
    assert score(ONE, code, ["it was not closed"]) == 0.0


def test_a_sandbox_that_fails_makes_the_episode_void(monkeypatch):
    monkeypatch.setattr("k2lib.sandbox.grading.run_many", lambda programs: [None] * len(programs))
    assert score(ONE, "print(1)") is None
    assert ONE.demonstration()["verdict"] == {"passed": False, "reasons": ["no sandbox works here"]}


def test_the_program_of_an_answer():
    assert program("```\na\n```\n```py\nb\n```") == "b\n" and program("x = 1") == "x = 1"
    assert program(None) is None and program(" ") is None and program("```python\nx") is None


def test_levels_and_splits():
    assert [len(one.steps) for one in coding(6, 0)] == [1, 2, 4, 1, 2, 4]
    train, test = ({one.asks for one in coding(60, 0, split, level=2)} for split in ("train", "test"))
    assert not train & test
    assert len({case.stdin for case in ONE.cases}) > 4 and ONE.cases[0].stdin == "\n"

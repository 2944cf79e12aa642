"""The list of faults for `make mutants` follows the code; the runner tells a fault that is noticed from one that is not."""

import importlib.util
from pathlib import Path

import pytest
import yaml

from k2lib.places import ROOT

spec = importlib.util.spec_from_file_location("mutants", ROOT / "ci" / "mutants.py")
runner = importlib.util.module_from_spec(spec)
spec.loader.exec_module(runner)


def test_every_fault_can_be_planted_and_rooms_have_tests():
    found = runner.mutants()
    assert len(found) >= 60
    for mutant in found:
        assert mutant["wrong"] != mutant["right"]
        room = Path(mutant["file"]).parts[1]
        assert all((ROOT / path.split("::")[0]).exists() for path in mutant.get("tests", f"tests/{room}").split())


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A repository of one function and one test."""
    files = {
        "k2lib/room/sum.py": "def add(a, b):\n    return a + b\n",
        "tests/room/test_sum.py": "from k2lib.room.sum import add\n\n\ndef test_sum():\n    assert add(2, 2) == 4\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    listed = [
        {"fault": "minus", "file": "k2lib/room/sum.py", "right": "a + b", "wrong": "a - b"},
        {"fault": "times", "file": "k2lib/room/sum.py", "right": "a + b", "wrong": "a * b"},
    ]
    (tmp_path / "tests" / "mutants.yaml").write_text(yaml.safe_dump(listed))
    monkeypatch.setattr(runner, "ROOT", tmp_path)
    return tmp_path


def test_a_fault_that_no_test_notices_is_a_survivor(small, capsys):
    assert runner.main([]) == 1
    *told, verdict = capsys.readouterr().out.splitlines()
    told.sort(key=lambda line: "times" in line)  # whichever ended first
    assert told[0].startswith("noticed") and "minus" in told[0]
    assert told[1].startswith("NOT NOTICED (no reason is given)") and "times" in told[1]
    assert verdict == "2 faults, 1 not noticed, 1 of them without a reason"
    assert (small / "k2lib/room/sum.py").read_text().endswith("a + b\n")  # only a copy was touched
    assert runner.main(["--only", "minus"]) == 0


def test_a_list_that_lags_behind_the_code_is_refused(small):
    (small / "k2lib/room/sum.py").write_text("def add(a, b):\n    return b + a\n")
    with pytest.raises(ValueError, match=r"sum.py no longer holds 'a \+ b'"):
        runner.mutants()


def test_a_fault_that_nothing_here_can_look_for_is_left_out(monkeypatch, capsys):
    monkeypatch.setattr("k2lib.sandbox.unavailable", lambda: "no bubblewrap")
    runner.here.cache_clear()
    assert runner.here("") and not runner.here("sandbox") and not runner.here("root")
    assert "no fault of the sandbox is planted: no bubblewrap" in capsys.readouterr().out
    runner.here.cache_clear()

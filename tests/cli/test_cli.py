"""The command line: thin, and one clear sentence where something is wrong."""

import subprocess
import sys

import pytest
from waiting import FAR

from k2lib import cli

pytestmark = pytest.mark.usefixtures("artifacts")


def k2(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "k2lib.cli", *arguments], capture_output=True, text=True, timeout=FAR)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["reproduce", "--profile", "huge"], "unknown profile 'huge'; choose one of smoke, laptop, study, gpu"),
        (["publish", "--profile", "huge"], "unknown profile 'huge'"),
        (["publish", "--profile", "smoke"], "run `k2 reproduce --profile smoke` first"),
    ],
)
def test_bad_input_is_one_sentence_without_a_traceback_and_code_2(arguments, sentence, artifacts):
    done = k2(*arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert sentence in done.stderr and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert not artifacts.exists()


def test_the_traceback_can_be_asked_for():
    done = k2("--traceback", "reproduce", "--profile", "huge")
    assert "Traceback" in done.stderr and "ValueError: unknown profile" in done.stderr


def test_reproduce_passes_its_options_on_and_returns_the_exit_code(monkeypatch):
    calls = []
    monkeypatch.setattr("k2lib.runner.reproduce", lambda *a, **k: calls.append((a, k)) or 1)
    assert cli.main(["reproduce", "--only", "03", "04", "--from", "03", "--force", "--keep-going"]) == 1
    assert cli.main(["reproduce"]) == 1
    assert calls[0] == (
        ("laptop",),
        {"only": ["03", "04"], "start": "03", "force": True, "keep_going": True, "seed": 0},
    )
    assert calls[1] == (("laptop",), {"only": [], "start": None, "force": False, "keep_going": False, "seed": 0})


def test_help_does_not_load_pytorch():
    code = "import sys; from k2lib import cli; cli.parser().format_help(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_programming_error_is_not_disguised(monkeypatch):
    def broken(*arguments, **options):
        raise AttributeError("no such thing")

    monkeypatch.setattr("k2lib.runner.reproduce", broken)
    with pytest.raises(AttributeError):
        cli.main(["reproduce"])

"""The store: computed once, whole or not at all, and again when what it depends on changes."""

import subprocess
import sys
from dataclasses import dataclass

import pytest
from waiting import FAR

from k2lib import store

pytestmark = pytest.mark.usefixtures("artifacts")


def make_file(calls: list):
    def make(folder):
        calls.append(folder)
        (folder / "x.txt").write_text("made")

    return make


def test_a_result_is_made_once_and_found_afterwards(artifacts):
    calls = []
    first = store.cached("corpus", make_file(calls), key={"size": 1}, root=artifacts)
    second = store.cached("corpus", make_file(calls), key={"size": 1}, root=artifacts)
    assert first == second and len(calls) == 1
    assert (first / "x.txt").read_text() == "made"
    assert first.parent == artifacts / "store"


def test_another_key_is_another_result(artifacts):
    @dataclass(frozen=True)
    class Size:
        steps: int

    found = {store.cached("base", make_file([]), key={"size": Size(n)}, root=artifacts) for n in (1, 2)}
    assert len(found) == 2


def test_a_failing_maker_leaves_nothing_and_its_error_passes_through(artifacts):
    def make(folder):
        (folder / "half.txt").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        store.cached("corpus", make, key={}, root=artifacts)
    assert [path.name for path in (artifacts / "store").iterdir()] == ["locks"]


def test_what_a_kill_left_half_made_is_removed_and_made_again(artifacts):
    code = (
        "import os, signal, pathlib\nfrom k2lib.store import cached\n"
        "def make(folder):\n (folder / 'half.txt').write_text('half')\n os.kill(os.getpid(), signal.SIGKILL)\n"
        f"cached('corpus', make, key={{}}, root=pathlib.Path({str(artifacts)!r}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert any(path.name.startswith(".making") for path in (artifacts / "store").iterdir())
    done = store.cached("corpus", make_file([]), key={}, root=artifacts)
    assert sorted(path.name for path in done.iterdir()) == ["store.json", "x.txt"]
    assert not any(path.name.startswith(".making") for path in (artifacts / "store").iterdir())


def test_two_processes_that_start_together_share_one_computation(artifacts):
    code = (
        "import time, pathlib, sys\nfrom k2lib.store import cached\n"
        "def make(folder):\n time.sleep(1.0)\n (folder / 'who').write_text(sys.argv[1])\n"
        f"print((cached('corpus', make, key={{}}, root=pathlib.Path({str(artifacts)!r})) / 'who').read_text())"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, who], stdout=subprocess.PIPE, text=True) for who in "ab"]
    answers = [process.communicate(timeout=FAR)[0] for process in both]
    assert answers[0] == answers[1]


def test_a_key_that_is_no_data_is_refused(artifacts):
    with pytest.raises(TypeError, match="not object"):
        store.cached("x", make_file([]), key={"a": object()}, root=artifacts)


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "a" / "b.txt"
    store.write_atomic(path, "one")
    store.write_atomic(path, "two")
    assert path.read_text() == "two"
    assert list(path.parent.iterdir()) == [path]

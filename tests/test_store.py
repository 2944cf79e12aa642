"""The store: computed once, whole or not at all, and again when what it depends on changes."""

import errno
import subprocess
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from waiting import FAR

from k2lib import store
from k2lib.studies import fp8, growth

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


def test_a_result_stands_on_the_code_that_its_maker_calls(artifacts):
    makers = (None, growth.measure, fp8.measure)
    assert len({store.cached("study", make_file([]), key={}, root=artifacts, code=code) for code in makers}) == 3


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


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda done: (done / "x.txt").write_text("mad!"), "x.txt has other bytes"),
        (lambda done: (done / "x.txt").unlink(), "x.txt is missing"),
        (lambda done: (done / "store.json").write_text("{"), "store.json cannot be read"),
        (lambda done: (done / "store.json").unlink(), "store.json cannot be read"),
    ],
)
def test_a_damaged_result_is_set_aside_by_name_and_made_again(artifacts, damage, words, monkeypatch):
    calls = []
    done = store.cached("base", make_file(calls), key={}, root=artifacts)
    damage(done)
    monkeypatch.setattr(store, "_checked", set())  # as in another process
    with pytest.warns(
        UserWarning, match=rf"{done} is damaged: {words}.*set aside as damaged-{done.name} and is made again"
    ):
        assert store.cached("base", make_file(calls), key={}, root=artifacts) == done
    assert len(calls) == 2 and (done / "x.txt").read_text() == "made"
    assert (done.parent / f"damaged-{done.name}").is_dir()


def full(monkeypatch, error: Exception, free: int):
    """Writing fails with `error` on a disk with `free` bytes left."""
    monkeypatch.setattr(store.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))

    def make(folder):
        (folder / "half.txt").write_text("half")
        raise error

    return make


@pytest.mark.parametrize(
    ("error", "free"), [(OSError(errno.ENOSPC, "x"), 10**8), (RuntimeError("unexpected pos 64"), 0)]
)
def test_a_full_disk_is_named_with_the_remedy_and_leaves_nothing(artifacts, monkeypatch, error, free):
    with pytest.raises(
        OSError, match=rf"the disk of {artifacts}/store is full .* set K2_ARTIFACTS to a folder elsewhere"
    ):
        store.cached("corpus", full(monkeypatch, error, free), key={}, root=artifacts)
    assert [path.name for path in (artifacts / "store").iterdir()] == ["locks"]


def test_another_failure_is_not_taken_for_a_full_disk(artifacts, monkeypatch):
    with pytest.raises(RuntimeError, match="a bug"):
        store.cached("corpus", full(monkeypatch, RuntimeError("a bug"), 10**9), key={}, root=artifacts)


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

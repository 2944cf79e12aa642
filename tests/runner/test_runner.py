"""The chain of notebooks: what it runs, what it believes, where it goes on."""

import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from waiting import FAR, until

from k2lib import machine, profiles
from k2lib.report.ledger import ledger_path
from k2lib.runner import NotebookFailed, reproduce
from k2lib.runner.execute import Watch, execute
from k2lib.runner.plan import steps

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("artifacts")]

COUNT = "import pathlib; f = pathlib.Path('runs.txt'); f.write_text((f.read_text() if f.exists() else '') + 'x')"


def run(make_path: Path, **options) -> int:
    return reproduce("smoke", notebooks=make_path.parent, **options)


def fails(path: Path, cell_timeout: int = 60) -> NotebookFailed:
    with pytest.raises(NotebookFailed) as caught:
        execute(steps("smoke", path.parent)[0], cell_timeout, Watch(), {})
    return caught.value


def test_a_finished_notebook_is_not_run_again_and_a_changed_cell_is(make, capsys):
    path = make("00_a", COUNT)
    assert run(path) == 0
    assert run(path) == 0
    assert "up to date" in capsys.readouterr().out
    assert (path.parent / "runs.txt").read_text() == "x"
    make("00_a", COUNT, "y = 1")
    assert run(path) == 0
    assert (path.parent / "runs.txt").read_text() == "xx"
    assert run(path, force=True) == 0
    assert (path.parent / "runs.txt").read_text() == "xxx"


def test_neither_prose_nor_another_notebook_makes_a_notebook_out_of_date(make):
    make("00_a", "x = 1")
    path = make("01_b", "y = 1")
    before = [step.fingerprint for step in steps("smoke", path.parent)]
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].source += "\n\nBetter prose."
    nbformat.write(notebook, path)
    assert [step.fingerprint for step in steps("smoke", path.parent)] == before
    make("00_a", "x = 2")
    after = [step.fingerprint for step in steps("smoke", path.parent)]
    assert after[0] != before[0] and after[1] == before[1]


def test_the_fingerprint_covers_profile_corpus_torch_arithmetic_and_seed(make, monkeypatch, tmp_path):
    path = make("00_a", "x = 1")
    seen = {steps("smoke", path.parent)[0].fingerprint, steps("laptop", path.parent)[0].fingerprint}
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "mine.txt").write_text("text")
    monkeypatch.setenv("K2_CORPUS", str(tmp_path / "corpus"))
    seen.add(steps("smoke", path.parent)[0].fingerprint)
    (tmp_path / "corpus" / "mine.txt").write_text("other text")
    seen.add(steps("smoke", path.parent)[0].fingerprint)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.99.0")
    seen.add(steps("smoke", path.parent)[0].fingerprint)
    monkeypatch.setenv("K2_DTYPE", "bfloat16" if machine.compute_dtype() == "float32" else "float32")
    seen.add(steps("smoke", path.parent)[0].fingerprint)
    seen.add(steps("smoke", path.parent, seed=1)[0].fingerprint)
    assert len(seen) == 7


def test_a_failure_stops_the_chain_names_the_cell_and_is_where_the_next_run_goes_on(make, capsys, artifacts):
    make("00_a", COUNT)
    broken = make("01_b", "x = 1", "1 / 0")
    make("02_c", "x = 1")
    assert run(broken) == 1
    out = capsys.readouterr().out
    assert "01_b: FAILED in cell 3 of 3 (Part 1)" in out and "ZeroDivisionError: division by zero" in out
    assert "02_c" not in out
    assert (artifacts / "notebooks" / "01_b.FAILED.ipynb").exists()
    assert not (artifacts / "notebooks" / "01_b.ipynb").exists()
    make("01_b", "x = 1", "1 / 1")
    assert run(broken) == 0
    assert (broken.parent / "runs.txt").read_text() == "x"
    assert not (artifacts / "notebooks" / "01_b.FAILED.ipynb").exists()


def test_keep_going_runs_the_notebooks_after_a_failure_and_still_reports_it(make, capsys):
    make("00_a", "1 / 0")
    path = make("01_b", "x = 1")
    assert run(path, keep_going=True) == 1
    assert "01_b: done" in capsys.readouterr().out


def test_only_and_from_choose_notebooks_and_an_unknown_one_is_refused(make, capsys):
    for name in ("00_a", "01_b"):
        path = make(name, "x = 1")
    assert run(path, only=["01"]) == 0
    assert "00_a" not in capsys.readouterr().out
    assert run(path, start="01_b") == 0
    assert "[01] 01_b: up to date" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"no notebook '07'; choose from 00_a, 01_b"):
        run(path, only=["07"])


def test_sys_exit_in_a_cell_is_a_failure(make):
    failure = fails(make("00_a", "import sys; sys.exit(0)", "x = 1"))
    assert "sys.exit" in failure.error and failure.cell == "cell 2 of 3 (Part 0)"


@pytest.mark.parametrize("leave", ["quit()", "exit", "x = 0; exit()"])
def test_a_cell_that_ends_the_kernel_is_the_one_that_is_blamed(make, leave):
    failure = fails(make("00_a", leave, "x = 1", "y = 1"))
    assert failure.cell == "cell 2 of 4 (Part 0)" and "ended the kernel" in failure.error


@pytest.mark.parametrize("which", ["executed", "marker", "ledger"])
def test_what_was_damaged_since_is_run_again_and_not_up_to_date(make, artifacts, capsys, which):
    path = make("00_a", "x = 1", finish=True)
    assert run(path) == 0
    step = steps("smoke", path.parent)[0]
    file = {"ledger": ledger_path("00_a", "smoke")}.get(which) or getattr(step, which)
    file.write_bytes(file.read_bytes()[:-9])
    capsys.readouterr()
    assert run(path) == 0
    assert "00_a: done" in capsys.readouterr().out and nbformat.read(step.executed, as_version=4)


def test_what_a_notebook_warned_of_is_said_on_the_terminal(make, capsys):
    assert run(make("00_a", 'import warnings\nwarnings.warn("x is damaged: it was set aside")')) == 0
    said = capsys.readouterr().out
    assert "00_a: done in" in said and "     x is damaged: it was set aside\n" in said


@pytest.mark.parametrize("content", ["[]", "7", "null", "[" * 100_000, '{"fingerprint": 1, "seconds": "x"}'])
def test_a_marker_that_is_none_counts_as_not_run(make, content):
    path = make("00_a", "x = 1")
    step = steps("smoke", path.parent)[0]
    step.folder.mkdir(parents=True)
    step.marker.write_text(content)
    assert not step.is_done() and step.last_seconds() is None


def test_a_full_disk_is_named_and_nothing_says_done(make, artifacts, capsys):
    path = make("00_a", 'import errno\nraise OSError(errno.ENOSPC, "the disk of /x is full; set K2_ARTIFACTS")')
    assert run(path) == 1
    said = capsys.readouterr().out
    assert "the disk of /x is full; set K2_ARTIFACTS" in said and "done in" not in said
    assert not steps("smoke", path.parent)[0].is_done()


def test_a_dead_kernel_is_a_failure(make):
    failure = fails(make("00_a", "import os; os.kill(os.getpid(), 9)", "x = 1"))
    assert "kernel died" in failure.error and failure.cell == "cell 2 of 3 (Part 0)"


def test_a_cell_over_its_time_is_a_failure(make):
    failure = fails(make("00_a", "import time; time.sleep(3600)"), cell_timeout=1)
    assert "longer than 1 s" in failure.error and failure.cell == "cell 2 of 2 (Part 0)"


def test_a_notebook_whose_finish_wrote_no_ledger_is_a_failure(make):
    failure = fails(make("00_a", "class B:\n    def finish(self): print('well')\nb = B()", "b.finish()"))
    assert "no ledger" in failure.error


def test_a_notebook_without_the_profile_parameter_is_refused(make):
    path = make("00_a", "x = 1")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].source = "size = 1"
    nbformat.write(notebook, path)
    with pytest.raises(ValueError, match="no parameter 'profile'"):
        execute(steps("smoke", path.parent)[0], 60, Watch(), {})


def test_the_report_and_the_claims_table_are_printed_at_the_end(make, capsys, artifacts):
    path = make("00_a", "print(profile)", finish=True)
    assert run(path) == 0
    out = capsys.readouterr().out
    assert str(artifacts / "report.html") in out and "qk-clip-caps-logits" in out
    page = (artifacts / "report.html").read_text()
    assert "notebooks/00_a.html" in page and "Plotly" in page


def test_a_kernels_sockets_lie_in_no_folder_of_the_projects(make, artifacts):
    assert run(make("00_a", "import os\nassert os.listdir() == ['00_a.ipynb'], os.listdir()", finish=True)) == 0


def test_an_unknown_profile_is_refused_before_anything_is_written(make, artifacts):
    with pytest.raises(ValueError, match="unknown profile 'huge'; choose one of smoke, laptop, study, gpu"):
        reproduce("huge", notebooks=make("00_a", "x = 1").parent)
    assert not artifacts.parent.exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_kill_leaves_no_half_written_artifact_and_no_process_and_the_next_run_goes_on(make, artifacts, number):
    make("00_a", COUNT)
    path = make(
        "01_b",
        "import os, pathlib; pathlib.Path('pid').write_text(str(os.getpid()))",
        "import time, pathlib\nwhile not pathlib.Path('go').exists(): time.sleep(0.1)",
    )
    process = in_background(path.parent)
    until(lambda: (path.parent / "pid").exists() and (path.parent / "pid").read_text(), "the kernel's number")
    kernel = int((path.parent / "pid").read_text())
    process.send_signal(number)
    assert process.wait(FAR) != 0
    until(lambda: not Path(f"/proc/{kernel}").exists(), "the end of the kernel")
    left = {file.name for file in (artifacts / "notebooks").iterdir() if not file.name.startswith((".", "plotly"))}
    assert left - {"01_b.FAILED.ipynb", "00_a.html"} == {"00_a.ipynb", "00_a.done"}
    (path.parent / "go").touch()
    assert run(path) == 0
    assert (path.parent / "runs.txt").read_text() == "x"
    assert not [file for file in (artifacts / "notebooks").iterdir() if file.name.startswith(".")]


def test_two_runs_of_one_profile_do_not_mix(make, artifacts):
    path = make("00_a", "import pathlib, time; pathlib.Path('pid').touch(); time.sleep(3600)")
    process = in_background(path.parent)
    until(lambda: (path.parent / "pid").exists(), "the first run's cell")
    with pytest.raises(RuntimeError, match=f"in use by another `k2 reproduce` .process {process.pid}."):
        run(path)
    process.terminate()
    process.wait(FAR)


def test_the_progress_line_names_notebook_cell_and_time_left(make, capsys, artifacts, monkeypatch):
    monkeypatch.setattr("k2lib.runner.bar.QUIET_FOR", 0.0)
    path = make("00_a", "import time\nfor _ in b.progress(range(5), 'counting'): time.sleep(0.6)", finish=True)
    assert run(path) == 0
    assert "time left unknown on a first run" in capsys.readouterr().out
    assert run(path, force=True) == 0
    out = capsys.readouterr().out
    assert "00_a  cell 3 of 4 (Part 1) · counting" in out and " left" in out and "unknown" not in out


def test_the_expected_time_survives_a_change_of_the_notebook(make, artifacts):
    path = make("00_a", "x = 1")
    step = steps("smoke", path.parent)[0]
    step.folder.mkdir(parents=True)
    step.executed.write_text("{}")
    step.mark_done(12.3)
    make("00_a", "x = 2")
    assert steps("smoke", path.parent)[0].last_seconds() == 12.3


def test_every_profile_limits_a_cell():
    assert all(profile.cell_timeout > 0 for profile in profiles.PROFILES.values())


def in_background(folder: Path) -> subprocess.Popen:
    """`reproduce` in a process of its own that obeys SIGINT, which those of a background job are born ignoring."""
    code = """if True:
        import pathlib, signal, sys
        signal.signal(signal.SIGINT, signal.default_int_handler)
        from k2lib.runner import reproduce
        reproduce('smoke', notebooks=pathlib.Path(sys.argv[1]))"""
    return subprocess.Popen([sys.executable, "-c", code, folder], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

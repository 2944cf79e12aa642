"""`reproduce`: the plain ordered list of notebooks, from the first one that is out of date to the report.

Papermill runs in a thread; the main thread draws the progress line and obeys Ctrl-C and SIGTERM by ending the kernel.
A kill that cannot be caught leaves temporary names only, and the next call goes on where this one stopped.
"""

import fcntl
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from k2lib import machine, profiles
from k2lib.places import ROOT, artifacts
from k2lib.publish import html, table
from k2lib.runner.bar import Bar, clock
from k2lib.runner.estimate import seconds
from k2lib.runner.execute import NotebookFailed, Watch, execute, warnings_of
from k2lib.runner.plan import NOTEBOOKS, Step, chosen, steps

LONG = 2 * 3600  # seconds from which a person should know beforehand


def reproduce(
    profile: str,
    *,
    only: list[str] | None = None,
    start: str | None = None,
    force: bool = False,
    keep_going: bool = False,
    seed: int = 0,
    notebooks: Path = NOTEBOOKS,
) -> int:
    """Runs the notebooks that are out of date and prints where the report is; 0, or 1 when a notebook failed.

    `only` and `start` restrict the list, `force` runs what is up to date too, `keep_going` goes on after a failure,
    `seed` is every notebook's.
    ValueError for an unknown profile or notebook, RuntimeError when the same profile is being run already.
    """
    sizes = profiles.get(profile)
    plan = steps(profile, notebooks, seed)
    wanted = chosen(plan, only or [], start)
    root = artifacts(profile)
    # what the kernels get: where results lie, where to tell progress, the command for the provenance
    environment = {"K2_ARTIFACTS": str(root.parent.resolve()), "K2_PROGRESS_FILE": str(root / "progress.json")}
    environment |= {"K2_COMMAND": f"k2 reproduce --profile {profile}", "K2_PNG": "0"}
    with _alone(root), _signals():
        pending = [step for step in wanted if force or not step.is_done()]
        expected = seconds(sizes) | {s.name: took for s in pending if (took := s.last_seconds()) is not None}
        names, threads = [step.name for step in pending], machine.threads(most=sizes.threads)
        print(_announcement(names, expected, threads), end="", flush=True)
        bar, failures = Bar(pending, expected, root / "progress.json"), []
        for step in wanted:
            if step not in pending:
                print(f"[{step.name[:2]}] {step.name}: up to date", flush=True)
                continue
            try:
                _run(step, sizes.cell_timeout, bar, environment)
            except NotebookFailed as failure:
                failures.append(failure)
                bar.finished(step, 0)
                bar.say(_explain(failure))
                if not keep_going:
                    break
        page = html.write(profile, out_of_date=[step.name for step in plan if not step.is_done()])
    if failures:
        return 1
    print(f"\n{table.terminal(profile)}\n\nreport: {_relative(page)}", flush=True)
    return 0


def _announcement(names: list[str], expected: dict[str, float], threads: int) -> str:
    """What lies ahead on this machine, a line a notebook; nothing when nothing is known or to be done."""
    known = [name for name in names if name in expected]
    if not known:
        return ""
    where, total = machine.device(), sum(expected[name] for name in known)
    dtype = machine.compute_dtype(where)
    speed = f"{machine.rates(where, threads).gflops[dtype]:.0f} GFLOP/s in {dtype} on {threads} threads"
    lines = [f"{machine.name()}, {machine.device_name(where)}, {speed}; expected here:"]
    lines += [f"  {name:22} {clock(expected[name]):>8}" for name in known]
    lines += [f"  {'together, roughly':22} {clock(total):>8}"]
    if total > LONG:
        lines.append(f"More than {LONG // 3600} hours; `make reproduce PROFILE=smoke` shows every step in minutes.")
    return "\n".join(lines) + "\n"


def _run(step: Step, cell_timeout: int, bar: Bar, environment: dict[str, str]) -> None:
    """Runs one step while showing progress. NotebookFailed or KeyboardInterrupt pass through."""
    step.marker.unlink(missing_ok=True)
    watch, started, errors = Watch(), time.monotonic(), []

    def work() -> None:
        try:
            execute(step, cell_timeout, watch, environment)
        except BaseException as error:  # handed to the main thread
            errors.append(error)

    worker = threading.Thread(target=work, name=step.name, daemon=True)
    worker.start()
    try:
        while worker.is_alive():
            worker.join(timeout=1.0)
            bar.tick(step, watch, time.monotonic() - started)
    except BaseException:  # Ctrl-C or SIGTERM: leave no kernel behind
        watch.kill()
        worker.join(timeout=10)
        bar.say(f"stopped in {step.name}, {watch.cell()}; the same command goes on from there")
        raise
    finally:
        Path(environment["K2_PROGRESS_FILE"]).unlink(missing_ok=True)
    if errors:
        raise errors[0]
    seconds = time.monotonic() - started
    step.mark_done(seconds)
    bar.finished(step, seconds)
    bar.say(f"[{step.name[:2]}] {step.name}: done in {clock(seconds)}")
    for warning in warnings_of(step):
        bar.say(f"     {warning}")


def _explain(failure: NotebookFailed) -> str:
    lines = [f"[{failure.step.name[:2]}] {failure.step.name}: FAILED in {failure.cell}", f"     {failure.error}"]
    if failure.step.failed.exists():
        lines.append(f"     its outputs so far: {_relative(failure.step.failed)}")
    return "\n".join([*lines, "     mend it and give the same command again: it goes on from this notebook"])


def _relative(path: Path) -> str:
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Two runs of one profile would overwrite each other's notebooks."""
    root.mkdir(parents=True, exist_ok=True)
    with open(root / "run.lock", "a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            raise RuntimeError(
                f"{root} is in use by another `k2 reproduce` (process {handle.read().strip()}); wait for it, or end it"
            ) from None
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield


@contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM ends the run as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

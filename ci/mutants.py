"""Tests of the tests (`make mutants`): one-line faults, planted one by one in a copy; which does nobody notice?

    python ci/mutants.py [--sample N] [--only WORDS]

Reads tests/mutants.yaml and runs for each fault the tests of its room, until the first that fails. Prints the survivors;
exits with 1 if one has no reason beside it. `--sample` takes N of the list, chosen by the commit.
"""

import argparse
import functools
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
COPIED = "k2lib tests data notebooks kernels ci README.md ARCHITECTURE.md pyproject.toml constraints.txt environment.yml".split()
AT_ONCE = 2  # faults, each in a copy of its own


def main(arguments: list[str] | None = None) -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--sample", type=int, help="so many of the list, chosen by the commit")
    options.add_argument("--only", help="faults whose sentence holds these words")
    options = options.parse_args(arguments)
    chosen = [m for m in mutants() if (options.only or "") in m["fault"] and here(m.get("needs", ""))]
    if options.sample is not None:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        chosen = random.Random(commit).sample(chosen, min(options.sample, len(chosen)))
    with tempfile.TemporaryDirectory() as folder:
        copies = [copied(Path(folder) / str(number)) for number in range(AT_ONCE)]
        survivors = [mutant for mutant, seen in zip(chosen, noticed_all(copies, chosen), strict=True) if not seen]
    unexplained = [mutant for mutant in survivors if "reason" not in mutant]
    print(f"{len(chosen)} faults, {len(survivors)} not noticed, {len(unexplained)} of them without a reason")
    return 1 if unexplained else 0


def mutants() -> list[dict]:
    """The list. ValueError if the text of a fault is gone from its file, or stands in the list twice."""
    found = yaml.safe_load((ROOT / "tests" / "mutants.yaml").read_text(encoding="utf-8"))
    for mutant in found:
        if mutant["right"] not in (ROOT / mutant["file"]).read_text(encoding="utf-8"):
            raise ValueError(f"{mutant['file']} no longer holds {mutant['right']!r}; the list must follow the code")
    faults = [mutant["fault"] for mutant in found]
    if len(set(faults)) < len(faults):
        raise ValueError("a fault stands in tests/mutants.yaml twice")
    return found


@functools.cache
def here(need: str) -> bool:
    """Whether the machine has what the tests of a fault need: a fault that no test can look for here is left out."""
    if need == "root":
        return here("sandbox") and os.geteuid() == 0
    if need == "sandbox":
        from k2lib import sandbox

        if (why := sandbox.unavailable()) is not None:
            print(f"no fault of the sandbox is planted: {why}")
            return False
    return True


def copied(folder: Path) -> Path:
    """The repository without its history and environment."""
    folder.mkdir(exist_ok=True)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, folder / name)
    return folder


def noticed_all(copies: list[Path], chosen: list[dict]) -> list[bool]:
    """Whether each fault is noticed; as many are planted at a time as there are copies of the repository."""
    free = queue.SimpleQueue()
    for copy in copies:
        free.put(copy)

    def one(mutant: dict) -> bool:
        copy = free.get()
        try:
            return noticed(copy, mutant)
        finally:
            free.put(copy)

    with ThreadPoolExecutor(len(copies)) as pool:
        return list(pool.map(one, chosen))


def noticed(copy: Path, mutant: dict) -> bool:
    """Whether a test of the room fails with the fault in place."""
    path, room = copy / mutant["file"], Path(mutant["file"]).parts[1]
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(mutant["right"], mutant["wrong"], 1), encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    tests = mutant.get("tests", f"tests/{room}").split()
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
    started = time.monotonic()
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    finally:
        path.write_text(text, encoding="utf-8")
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{mutant['fault']}: the tests did not run:\n{done.stdout[-1500:]}{done.stderr[-500:]}")
    verdict = "noticed" if done.returncode else f"NOT NOTICED ({mutant.get('reason', 'no reason is given')})"
    print(f"{verdict:11} {mutant['fault']}  ({time.monotonic() - started:.0f} s)", flush=True)
    return bool(done.returncode)


if __name__ == "__main__":
    sys.exit(main())

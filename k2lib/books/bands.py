"""How far the numbers of a smoke run may lie apart: bands over seeds, for each kind of arithmetic (`make bands`).

What a short training yields depends on the last bit of its sums, and so on the machine: the same seed elsewhere is as
good as another seed. A number is therefore held to what several seeds gave, widened, and never to one of them.
"""

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from k2lib import machine
from k2lib.places import DATA, ROOT
from k2lib.report.ledger import Ledger, pretty, significant
from k2lib.store import write_atomic

PROFILE = "smoke"
EXPECTED = DATA / "results" / f"expected_{PROFILE}.json"
SEEDS = {"float32": range(10), "bfloat16": range(3)}
ON_TWO_THREADS = 5  # every fifth seed: sums are cut differently there
WIDER = 0.5  # of a band's width, added at either end: a new seed falls outside what ten gave twice in eleven times
LEAST = 0.02  # of a value, added at either end too, for numbers that no seed changes

Bands = dict[str, dict[str, dict[str, list[float]]]]  # notebook -> number -> dtype -> [lowest, highest]


def measured(ledger: Ledger) -> dict[str, float]:
    """Everything in a ledger that is watched for drift: the claims' values and the metrics."""
    return {name: record.interval().value for name, record in ledger.records.items()} | ledger.metrics


def outside(ledger: Ledger, bands: Bands) -> list[str]:
    """A sentence for every number of a run that leaves its band, or that has none."""
    dtype, found = ledger.provenance["measured"]["dtype"], bands.get(ledger.notebook, {})
    sentences = [f"{name} was not measured" for name in found if name not in measured(ledger)]
    for name, value in measured(ledger).items():
        low, high = found.get(name, {}).get(dtype, (None, None))
        if low is None:
            sentences.append(f"{name} has no band for {dtype}")
        elif not low <= value <= high:
            sentences.append(f"{name} is {value}, outside {low} to {high} ({dtype})")
    return sentences


def widened(values: list[float]) -> list[float]:
    """[lowest, highest] that a further run may give, from what several gave."""
    low, high = min(values), max(values)
    room = WIDER * (high - low) + LEAST * max(abs(low), abs(high)) + 1e-6
    return [significant(low - room, 4), significant(high + room, 4)]


def shared(values: dict[str, list[float]]) -> dict[str, list[float]]:
    """The values of each dtype; of all dtypes together where their ranges overlap, so that nothing tells them apart."""
    apart = max(map(min, values.values())) > min(map(max, values.values()))
    together = [value for own in values.values() for value in own]
    return values if apart else {dtype: together for dtype in values}


def collect(root: Path) -> Bands:
    """The bands of the runs under `root`, as `run_all` left them."""
    found: dict = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for path in sorted(root.glob(f"*/{PROFILE}/ledgers/*.json")):
        ledger = Ledger.load(path)
        for name, value in measured(ledger).items():
            found[ledger.notebook][name][ledger.provenance["measured"]["dtype"]].append(value)
    return {
        notebook: {name: {d: widened(v) for d, v in sorted(shared(by).items())} for name, by in sorted(numbers.items())}
        for notebook, numbers in sorted(found.items())
    }


def runs() -> Iterator[tuple[str, int, int]]:
    """(dtype, threads, seed) of every run that the bands come from."""
    for dtype, seeds in SEEDS.items():
        yield from ((dtype, 2 if (seed + 1) % ON_TWO_THREADS == 0 else 1, seed) for seed in seeds)


def run_all(root: Path) -> None:
    """Runs every notebook for every dtype and seed; what is there already is not run again."""
    for dtype, threads, seed in runs():
        folder = root / f"{dtype}-{threads}-{seed}"
        settings = {
            "K2_ARTIFACTS": str(folder),
            "K2_DTYPE": dtype,
            "K2_THREADS": str(threads),
            "K2_DEVICE": machine.HOST.type,
        }
        command = [sys.executable, "-m", "k2lib.cli", "reproduce", "--profile", PROFILE, "--seed", str(seed)]
        subprocess.run(command, env=os.environ | settings, check=True)


def main() -> None:
    """Runs what is missing under artifacts/bands and writes data/results/expected_smoke.json."""
    root = ROOT / "artifacts" / "bands"
    run_all(root)
    origin = {dtype: f"{len(seeds)} seeds, every fifth on two threads" for dtype, seeds in SEEDS.items()}
    origin |= {
        "widened": f"by {WIDER:g} of its width and {LEAST:g} of the value at either end",
        "machine": machine.name(),
    }
    write_atomic(EXPECTED, pretty({"origin": origin, "bands": collect(root)}))


def expected(path: Path = EXPECTED) -> Bands:
    """The committed bands."""
    return json.loads(path.read_text(encoding="utf-8"))["bands"]


if __name__ == "__main__":
    main()

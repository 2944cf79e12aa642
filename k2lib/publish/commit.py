"""Commits a run as evidence: copies the ledgers of a profile to data/results/<machine>/<profile>/NN.json.

Each keeps its provenance: command, commit, device, versions, seed, date of the run itself. README's table and the
reference curves in the notebooks are drawn from these files.
"""

from pathlib import Path

from k2lib import profiles
from k2lib.places import artifacts
from k2lib.report.ledger import Ledger
from k2lib.report.results import RESULTS, Run, machine_folder


def publish(profile: str, results: Path = RESULTS) -> list[Path]:
    """Copies every notebook's ledger that stems from a complete run; the paths written.

    FileNotFoundError when the profile has not been run; ValueError when a ledger lacks its provenance or its notebook
    did not run to its end under `k2 reproduce`.
    """
    if profiles.get(profile) is profiles.PUBLISHED:
        raise ValueError("published pages are drawn from committed results; publish the run of another profile")
    folder = artifacts(profile)
    ledgers = sorted((folder / "ledgers").glob("[0-9][0-9]_*.json"))
    if not ledgers:
        raise FileNotFoundError(f"no results in {folder}; run `k2 reproduce --profile {profile}` first")
    unfinished = [path.stem for path in ledgers if not (folder / "notebooks" / f"{path.stem}.done").exists()]
    if unfinished:
        raise ValueError(f"{', '.join(unfinished)} did not finish; run `k2 reproduce --profile {profile}` again")
    written = []
    for path in ledgers:
        ledger = Ledger.load(path)
        if not ledger.provenance:
            raise ValueError(f"{path} does not say where it was measured; run {ledger.notebook} again")
        target = Run(results / machine_folder(ledger.provenance) / profile).path(ledger.notebook)
        ledger.save(target)
        written.append(target)
    return written

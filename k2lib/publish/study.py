"""Runs a study and commits it as evidence: its values of every seed, as a ledger beside those of the notebooks."""

from pathlib import Path

from k2lib import profiles, stages
from k2lib.progress import Progress, silent
from k2lib.report.ledger import Ledger, Record
from k2lib.report.provenance import provenance
from k2lib.report.results import RESULTS, Run, machine_folder
from k2lib.studies import (
    chunks,
    fp8,
    growth,
    harm,
    heads,
    notes,
    rates,
    routing,
    second_policy,
    table1,
    tokens,
    updates,
)

STUDIES = {
    "table1": table1.STUDY,
    "chunks": chunks.STUDY,
    "notes": notes.STUDY,
    "routing": routing.STUDY,
    "second_policy": second_policy.STUDY,
    "rates": rates.STUDY,
    "updates": updates.STUDY,
    "tokens": tokens.STUDY,
    "growth": growth.STUDY,
    "heads": heads.STUDY,
    "harm": harm.STUDY,
    "fp8": fp8.STUDY,
}


def run(
    name: str, profile: str, seeds: int | None = None, progress: Progress = silent, results: Path = RESULTS
) -> tuple[Path, Ledger]:
    """Measures what is not cached yet and writes data/results/<machine>/<profile>/<name>.json; ValueError for bad names."""
    size = profiles.get(profile)
    if size is profiles.PUBLISHED:
        raise ValueError("the published profile measures nothing; choose smoke, laptop, study or gpu")
    if name not in STUDIES:
        raise ValueError(f"unknown study {name!r}; choose one of {', '.join(STUDIES)}")
    study, source = STUDIES[name], provenance(0)
    found = stages.study(study, size, seeds, progress=progress)
    records = {claim: Record(claim, values, "seeds") for claim, values in study.values(size, found).items()}
    ledger = Ledger(study.notebook, profile, records=records, provenance=source)
    path = Run(results / machine_folder(source) / profile).folder / f"{name}.json"
    ledger.save(path)
    return path, ledger

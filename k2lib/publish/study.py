"""Runs a study and commits it as evidence: its values of every seed, and what a page shows of it, as a ledger beside the notebooks'."""

from collections.abc import Callable, Mapping
from pathlib import Path

from k2lib import profiles, stages
from k2lib.closure import of_function
from k2lib.progress import Progress, silent
from k2lib.report.book import MEASURED_DIGITS
from k2lib.report.ledger import Ledger, Record, plain
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
    second_families,
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
    "second_families": second_families.STUDY,
    "rates": rates.STUDY,
    "updates": updates.STUDY,
    "tokens": tokens.STUDY,
    "growth": growth.STUDY,
    "heads": heads.STUDY,
    "harm": harm.STUDY,
    "fp8": fp8.STUDY,
}


def run(
    name: str,
    profile: str,
    seeds: int | None = None,
    progress: Progress = silent,
    results: Path = RESULTS,
    shown: Mapping[str, Callable] | None = None,
) -> tuple[Path, Ledger]:
    """Measures what is not cached yet and writes data/results/<machine>/<profile>/<name>.json; ValueError for bad names.

    `shown` is what the notebook's page measures of the study, by its names there; it is left with the profile's own number of seeds.
    """
    size = profiles.get(profile)
    if size is profiles.PUBLISHED:
        raise ValueError("the published profile measures nothing; choose smoke, laptop, study or gpu")
    if name not in STUDIES:
        raise ValueError(f"unknown study {name!r}; choose one of {', '.join(STUDIES)}")
    study, source = STUDIES[name], provenance(0)
    found = stages.study(study, size, seeds, progress=progress)
    records = {claim: Record(claim, values, "seeds") for claim, values in study.values(size, found).items()}
    measured = {
        part: {"code": of_function(function), "value": plain(function(size, 0, progress), MEASURED_DIGITS)}
        for part, function in (shown or {}).items()
        if seeds is None
    }
    ledger = Ledger(study.notebook, profile, records=records, measured=measured, provenance=source)
    path = Run(results / machine_folder(source) / profile).folder / f"{name}.json"
    ledger.save(path)
    return path, ledger

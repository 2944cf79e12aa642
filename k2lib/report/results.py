"""Committed results of other runs: `data/results/<machine>/<profile>/`, one ledger a notebook (NN.json) or study (name.json).

`k2 publish` and `k2 study` put them there. The committed pages are drawn from them, and the tables of claims take from
them, claim by claim, the strongest evidence.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from k2lib import profiles
from k2lib.places import DATA
from k2lib.report import claims
from k2lib.report.ledger import Ledger

RESULTS = DATA / "results"


@dataclass(frozen=True)
class Run:
    """A committed run of one profile on one machine."""

    folder: Path  # data/results/<machine>/<profile>

    @property
    def profile(self) -> str:
        return self.folder.name

    @property
    def machine(self) -> str:
        return self.folder.parent.name

    def path(self, notebook: str) -> Path:
        """Where the notebook's result lies (whether or not there is one)."""
        return self.folder / f"{notebook[:2]}.json"

    def ledger(self, notebook: str) -> Ledger | None:
        return Ledger.load(self.path(notebook)) if self.path(notebook).exists() else None

    def ledgers(self) -> list[Ledger]:
        """Of all its notebooks and studies."""
        return [Ledger.load(path) for path in sorted(self.folder.glob("*.json"))]


@dataclass(frozen=True)
class Evidence:
    """The verdict on a claim and the committed run that it stands on; no run where none measured it."""

    verdict: claims.Verdict
    run: Run | None = None
    provenance: dict = field(default_factory=dict)


def runs(profile: str | None = None, root: Path | None = None) -> list[Run]:
    """The committed runs, of all profiles in their order or of one; the machines of a profile by name."""
    wanted = [profile] if profile else list(profiles.PROFILES)
    folders = sorted(path for path in (root or RESULTS).glob("*/*") if path.is_dir() and any(path.glob("*.json")))
    return [Run(folder) for name in wanted for folder in folders if folder.name == name]


def machine_folder(provenance: dict) -> str:
    """A machine's name in data/results, such as "amd-epyc-2-cores-bfloat16": the processor or GPU, and the arithmetic."""
    on_gpu = provenance["device"] != "CPU"
    parts = [provenance["device"] if on_gpu else provenance["machine"], provenance.get("measured", {}).get("dtype", "")]
    return re.sub(r"[^a-z0-9]+", "-", " ".join(parts).lower()).strip("-")


def published(notebook: str, root: Path | None = None) -> tuple[Run, Ledger]:
    """The committed run that the notebook's page is drawn from: of the largest profile that has one, the newest.

    What a study of that notebook and profile has measured for the page no earlier takes the place of the run's own; its entry in
    `measured` says "where". FileNotFoundError saying what to run where none has measured what a page shows.
    """
    found = [(run, ledger) for run in runs(root=root) if (ledger := run.ledger(notebook)) and ledger.measured]
    if not found:
        raise FileNotFoundError(
            f'no committed run of {notebook}: `k2 reproduce --profile laptop` and `k2 publish` make one, profile = "smoke" '
            "runs it at once"
        )
    largest = found[-1][0].profile
    run, ledger = max(
        (pair for pair in found if pair[0].profile == largest), key=lambda pair: pair[1].provenance["date"]
    )
    for study in _studies(notebook, largest, root):
        if study.provenance["date"] >= ledger.provenance["date"]:
            ledger.measured |= {name: one | {"where": where(study)} for name, one in study.measured.items()}
            ledger.records |= study.records
    return run, ledger


def _studies(notebook: str, profile: str, root: Path | None) -> list[Ledger]:
    """The studies that have measured what its page shows, the newest last."""
    every = [Ledger.load(path) for run in runs(profile, root) for path in run.folder.glob("[a-z]*.json")]
    shown = [one for one in every if one.notebook == notebook and one.measured]
    return sorted(shown, key=lambda one: one.provenance["date"])


def where(ledger: Ledger) -> str:
    """On what machine a ledger was measured, and when."""
    source = ledger.provenance
    device = source["machine"] if source["device"] == "CPU" else source["device"]
    return f"{device} in {source['measured']['dtype']}, {source['date']}, commit `{source['commit']}`"


def evidence(root: Path | None = None) -> dict[str, Evidence]:
    """claim id -> the strongest evidence: of the largest profile that judged it, there of the most seeds, then the newest.

    The smoke profile is never evidence: what needs no size is measured again by the larger ones.
    """
    found = {name: Evidence(verdict) for name, verdict in claims.judge_all({}, "laptop").items()}
    for run in runs(root=root):
        for ledger in run.ledgers() if run.profile != "smoke" else []:
            for name, verdict in claims.judge_all(ledger.records, run.profile).items():
                new = Evidence(verdict, run, ledger.provenance)
                if verdict.record is not None and _strength(new) >= _strength(found[name]):
                    found[name] = new
    return found


def _strength(one: Evidence) -> tuple:
    if one.run is None:
        return (False,)
    given = one.verdict.verdict in claims.GIVEN
    size = list(profiles.PROFILES).index(one.run.profile)
    return True, given, size, one.verdict.record.interval().n, one.provenance.get("date", "")

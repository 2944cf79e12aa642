"""Rewrites that no grammar of the kit wrote: by hand, good and bad ones, to measure the fidelity check (`data/fidelity`)."""

from dataclasses import dataclass

import yaml

from k2lib.places import DATA


@dataclass(frozen=True)
class Probe:
    source: str
    rewrite: str
    wrong: str  # how it differs in meaning; empty for a faithful one


def probes() -> list[Probe]:
    """All of them: the faithful rewrites of each source, then its wrong ones."""
    entries = [
        entry
        for path in sorted((DATA / "fidelity").glob("probes-*.yaml"))
        for entry in yaml.safe_load(path.read_text(encoding="utf-8"))
    ]
    found = []
    for entry in entries:
        found += [Probe(entry["source"], text, "") for text in entry["faithful"]]
        found += [Probe(entry["source"], text, kind) for kind, text in entry["wrong"].items()]
    return found


def read_by_hand() -> dict[tuple[str, str], str]:
    """(source, rewrite) -> what a person who read both found: "" for a faithful one. Of rewrites that the check accepted."""
    path = DATA / "fidelity" / "read.yaml"
    entries = yaml.safe_load(path.read_text(encoding="utf-8")) or []
    return {(entry["source"], entry["rewrite"]): entry["found"] for entry in entries}

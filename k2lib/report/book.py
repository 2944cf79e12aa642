"""A notebook's side of the kit: start, show progress, show figures, record claims, finish.

    b = start("03_muonclip", profile, seed)
    for step in b.progress(range(b.profile.pretrain.steps), "pre-train"): ...
    b.curves("max_logit", {"x": steps, "lines": {"Muon": logits}}, x="step", y="maximum logit")
    b.record("qk-clip-caps-logits", [1.02, 0.99, 1.06], of="seeds")
    b.finish()

`finish` is the one cell whose output nbval compares, so it prints verdicts and sentences, never a measured number. It
refuses to end while a claim of this notebook is unrecorded: a claim that fails stays in, it cannot be left out.
"""

import json
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from k2lib import machine, profiles
from k2lib.places import artifacts
from k2lib.report import claims, figures, ledger, picture, progress, results
from k2lib.report.provenance import provenance
from k2lib.store import write_atomic


class Book:
    """One run of one notebook. `profile`, `seed` and `artifacts` (a folder for its own files) are there to be read."""

    def __init__(self, notebook: str, profile: str, seed: int):
        if not re.fullmatch(r"\d\d_[a-z0-9_]+", notebook):
            raise ValueError(f"a notebook is named like '03_muonclip', not {notebook!r}")
        self.profile = profiles.get(profile)
        self.notebook, self.seed = notebook, seed
        self.artifacts: Path = artifacts(profile)
        self.artifacts.mkdir(parents=True, exist_ok=True)
        self._ledger = ledger.Ledger(notebook, profile, seed)
        self._started = time.monotonic()

    def progress(self, iterable: Iterable, desc: str, total: int | None = None) -> Iterator:
        """The items of `iterable`, with a bar for whoever is waiting (see k2lib.report.progress)."""
        return progress.progress(iterable, desc, total)

    def show(self, figure, name: str) -> None:
        """Displays a plotly figure, interactive in JupyterLab and a picture on GitHub, under a unique name."""
        if not re.fullmatch(r"[a-z0-9_]+", name) or name in self._ledger.figures:
            raise ValueError(f"figure {name!r}: give each figure of {self.notebook} its own name from a-z, 0-9 and _")
        from IPython.display import display

        content = picture.content(figure)
        bundle = {picture.MIMETYPE: content, "text/plain": f"<figure {self.notebook}/{name}>"}
        png = picture.png(content)
        display(bundle | ({"image/png": png} if png else {}), raw=True)
        write_atomic(self.artifacts / "figures" / self.notebook / f"{name}.json", json.dumps(content))
        self._ledger.figures.append(name)

    def curves(self, name: str, data: dict, *, compare: bool = True, **how: object) -> None:
        """Keeps `data` as series `name` and shows it as `figures.curves` draws it, settings `how`.

        Beside it, dotted, what other machines published under that name, unless `compare` is False: where every machine
        computes the same there is nothing to compare.
        """
        self._draw(figures.curves, name, data, compare, how)

    def bars(self, name: str, data: dict, *, y: str, compare: bool = True, **how: object) -> None:
        """The same with `figures.bars`; {label: number} will do where there is one bar a label."""
        data = data if "bars" in data else {"labels": list(data), "bars": {y: list(data.values())}}
        self._draw(figures.bars, name, data, compare, {"y": y} | how)

    def points(self, name: str, data: dict, **how: object) -> None:
        """Keeps points as series `name` and shows them as `figures.points` draws them."""
        self.show(figures.points(self._keep(name, data), **how), name)

    def heatmap(self, name: str, rows: dict, **how: object) -> None:
        """Keeps rows, label -> values, as series `name` and shows them as `figures.heatmap` draws them."""
        kept = self._keep(name, rows)
        self.show(figures.heatmap(list(kept.values()), rows=list(kept), **how), name)

    def _draw(self, draw: Callable, name: str, data: dict, compare: bool, how: dict) -> None:
        references = results.references(self.notebook, name) if compare else []
        self.show(draw(self._keep(name, data), references=references, **how), name)

    def _keep(self, name: str, data: dict) -> dict:
        """The data as the ledger keeps it: plain lists, rounded."""
        self._ledger.series[name] = ledger.plain(data)
        return self._ledger.series[name]

    def metric(self, name: str, value: float) -> None:
        """A number that is no claim but should not drift unseen, such as a final loss."""
        self._ledger.metrics[name] = ledger.Record(name, float(value)).values

    def record(self, claim_id: str, values: float | list, of: str = "number", detail: str = "") -> None:
        """The raw values measured for a claim, and what they are: a number, or values of seeds, shares or pairs."""
        self.add(claims.find(claim_id), ledger.Record(claim_id, values, of, detail))

    def add(self, claim: claims.Claim, entry: ledger.Record) -> None:
        """Puts a record into the ledger; ValueError when the claim belongs to another notebook or was recorded."""
        if claim.notebook != self.notebook:
            raise ValueError(f"claim {claim.id!r} belongs to {claim.notebook}, not to {self.notebook} (claims.yaml)")
        if claim.id in self._ledger.records:
            raise ValueError(f"claim {claim.id!r} is already recorded; record it once, with its interval")
        claim.judge(entry, self.profile.name)  # a record that its rule cannot judge fails here, beside its cell
        self._ledger.records[claim.id] = entry

    def finish(self) -> None:
        """The last cell: writes the ledger and prints one verdict line for every claim of this notebook."""
        own = claims.of_notebook(self.notebook)
        missing = [claim.id for claim in own if claim.id not in self._ledger.records]
        if missing:
            raise ValueError(f"{self.notebook} has not recorded {', '.join(missing)}, which claims.yaml gives to it")
        lines = []
        for claim in own:
            verdict = claim.judge(self._ledger.records[claim.id], self.profile.name)
            lines.append(f"{verdict}: {claim.claim} [{claim.id}, section {claim.section}]")
        self._ledger.seconds = round(time.monotonic() - self._started, 1)
        self._ledger.provenance = provenance(self.seed)
        self._ledger.save(ledger.ledger_path(self.notebook, self.profile.name))
        claims._current = None
        print("\n".join(lines) if lines else f"{self.notebook} finished; it tests no claim of its own")


def start(notebook: str, profile: str = "smoke", seed: int = 0) -> Book:
    """Opens the book of a notebook: checks the profile, seeds every generator, sets the number of threads."""
    book = Book(notebook, profile, seed)
    import numpy
    import torch

    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(machine.threads(most=profiles.get(profile).threads))
    claims._current = book
    return book

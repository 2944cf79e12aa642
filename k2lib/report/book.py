"""A notebook's side of the kit: start, show progress, show figures, record claims, finish.

    b = start("03_muonclip", profile, seed)
    logits = b.measure("logits", muonclip.logits)  # a function of profile, seed and progress, from k2lib.chapters
    b.curves("max_logit", steps, {"Muon": logits}, x="step", y="maximum logit")
    b.record("qk-clip-caps-logits", [1.02, 0.99, 1.06], of="seeds")
    b.finish()

`finish` prints the verdicts, each with our value, the paper's and the rule. It refuses to end while a claim of this
notebook is unrecorded: a claim that fails stays in, it cannot be left out.
"""

import json
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from k2lib import closure, machine, profiles
from k2lib.places import artifacts
from k2lib.progress import Progress
from k2lib.report import claims, figures, ledger, picture, progress, results, show
from k2lib.report.provenance import provenance
from k2lib.store import write_atomic

NAME = r"[a-z0-9_]+"  # of a figure or of something measured
MEASURED_DIGITS = 6  # what a page computes from measured numbers is then the same wherever it is computed


class Book:
    """One run of one notebook. `profile`, `seed` and `artifacts` (a folder for its own files) are there to be read.

    Under "published" it runs nothing: `source` is the committed ledger that its page is drawn from, `profile` that run's.
    """

    def __init__(self, notebook: str, profile: str, seed: int):
        if not re.fullmatch(r"\d\d_[a-z0-9_]+", notebook):
            raise ValueError(f"a notebook is named like '03_muonclip', not {notebook!r}")
        self.profile, self.source = profiles.get(profile), None
        if self.profile is profiles.PUBLISHED:
            run, self.source = results.published(notebook)
            self.profile = profiles.get(run.profile)
            if seed != self.source.seed:
                raise ValueError(
                    f"the committed run of {notebook} is of seed {self.source.seed}, not {seed}; choose another profile"
                )
        self.notebook, self.seed = notebook, seed
        self.artifacts: Path = artifacts(profile)
        self.artifacts.mkdir(parents=True, exist_ok=True)
        self._ledger = ledger.Ledger(notebook, self.profile.name, seed)
        self._skipped: set[str] = set()
        self._path = ledger.ledger_path(notebook, profile)
        self._started = time.monotonic()

    @property
    def machine(self) -> dict:
        """The record of the machine that this page's numbers are of: the committed run's, or this one."""
        return self.source.provenance["measured"] if self.source else machine.record()

    def progress(self, iterable: Iterable, desc: str, total: int | None = None) -> Iterator:
        """The items of `iterable`, with a bar for whoever is waiting (see k2lib.report.progress)."""
        return progress.progress(iterable, desc, total)

    def measure(self, name: str, function: Callable[[profiles.Profile, int, Progress], object]) -> object:
        """What `function(profile, seed, progress)` gives, as plain JSON, kept in the ledger under `name`.

        Under "published" the committed result is read instead, and where the code behind it has changed since then, the
        page says so. ValueError for a name that was used before, a function of the notebook's own (what a page shows is
        measured by the library, where it is tested), or a result that the committed run lacks.
        """
        if not re.fullmatch(NAME, name) or name in self._ledger.measured:
            raise ValueError(f"measure {name!r}: give each one of {self.notebook} its own name from a-z, 0-9 and _")
        if not function.__module__.startswith("k2lib.") or "<" in function.__qualname__:
            raise ValueError(f"measure {name!r}: {function.__qualname__} is not a function of k2lib; move it there")
        entry = {"code": closure.of_function(function)}
        if self.source:
            entry = self._committed(name, **entry)
        else:
            entry["value"] = ledger.plain(function(self.profile, self.seed, self.progress), MEASURED_DIGITS)
        self._ledger.measured[name] = entry
        return entry["value"]

    def _committed(self, name: str, code: str) -> dict:
        entry = self.source.measured.get(name)
        if entry is None:
            commands = f"`k2 reproduce --profile {self.profile.name} --only {self.notebook[:2]}` and `k2 publish`"
            raise ValueError(f"the committed run of {self.notebook} has not measured {name!r}; {commands} do")
        if "where" in entry:
            print(f"({name}: from a study of its own on {entry['where'].replace('`', '')})")
        if entry["code"] != code:
            print(f"({name}: the code that measured this has changed since)")
        return entry

    def show(self, figure, name: str) -> None:
        """Displays a plotly figure, interactive in JupyterLab and a picture on GitHub, under a unique name."""
        if not re.fullmatch(NAME, name) or name in self._ledger.figures:
            raise ValueError(f"figure {name!r}: give each figure of {self.notebook} its own name from a-z, 0-9 and _")
        from IPython.display import display

        content = picture.content(figure)
        bundle = {picture.MIMETYPE: content, "text/plain": f"<figure {self.notebook}/{name}>"}
        png = picture.png(content)
        alt = {"image/png": {"alt": picture.alt(content)}} if png else {}
        display(bundle | ({"image/png": png} if png else {}), metadata=alt, raw=True)
        write_atomic(self.artifacts / "figures" / self.notebook / f"{name}.json", json.dumps(content))
        self._ledger.figures.append(name)

    def curves(self, name: str, xs: Iterable, lines: dict, **how: object) -> None:
        """Shows {line: numbers} over `xs` as `figures.curves` draws them, settings `how`."""
        self.show(figures.curves(_plain(xs), ledger.plain(lines), **how), name)

    def bars(self, name: str, labels: Iterable, bars: dict | None = None, *, unit: str, **how: object) -> None:
        """Shows {group: numbers} over `labels` as `figures.bars` draws them, or {label: number}, a bar each."""
        self._rows(figures.bars, name, labels, bars, unit, how)

    def dots(self, name: str, labels: Iterable, groups: dict | None = None, *, unit: str, **how: object) -> None:
        """The same with `figures.dots`."""
        self._rows(figures.dots, name, labels, groups, unit, how)

    def waterfall(self, name: str, steps: dict, **how: object) -> None:
        """Shows what steps leave of a number as `figures.waterfall` draws it."""
        self.show(figures.waterfall(ledger.plain(steps), **how), name)

    def points(self, name: str, groups: dict, **how: object) -> None:
        """Shows points as `figures.points` draws them."""
        self.show(figures.points(ledger.plain(groups), **how), name)

    def cloud(self, name: str, groups: dict, **how: object) -> None:
        """Shows a map of points by group as `figures.cloud` draws it."""
        self.show(figures.cloud(ledger.plain(groups), **how), name)

    def heatmap(self, name: str, rows: dict, **how: object) -> None:
        """Shows rows, label -> values, as `figures.heatmap` draws them."""
        rows = ledger.plain(rows)
        self.show(figures.heatmap(list(rows.values()), rows=list(rows), **how), name)

    def _rows(self, draw: Callable, name: str, labels: Iterable, groups: dict | None, unit: str, how: dict) -> None:
        groups = {unit: list(labels.values())} if groups is None else groups
        self.show(draw(_plain(labels), ledger.plain(groups), unit=unit, **how), name)

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

    def skip(self, *claim_ids: str) -> None:
        """Claims that this run cannot measure, for its size or for what is not here: they stay "not run"."""
        self._skipped.update(claims.find(claim_id).id for claim_id in claim_ids)

    def finish(self) -> None:
        """The last cell: writes the ledger and prints one verdict line for every claim of this notebook."""
        own = claims.of_notebook(self.notebook)
        missing = [claim.id for claim in own if claim.id not in {*self._ledger.records, *self._skipped}]
        if missing:
            raise ValueError(f"{self.notebook} has not recorded {', '.join(missing)}, which claims.yaml gives to it")
        verdicts = claims.judge_all(self._ledger.records, self.profile.name)
        self._ledger.seconds = round(time.monotonic() - self._started, 1)
        self._ledger.provenance = self.source.provenance if self.source else provenance(self.seed)
        self._ledger.save(self._path)
        claims._current = None
        lines = [verdicts[claim.id].sentence() for claim in own]
        print("\n\n".join(lines) if lines else f"{self.notebook} finished; it tests no claim of its own")


def _plain(values: Iterable) -> list:
    """As a list of plain numbers or words; a dict gives its keys."""
    return ledger.plain(values if hasattr(values, "tolist") else list(values))


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
    if book.source:
        show.origin(book.source)
    return book

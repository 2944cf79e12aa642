"""A corpus in, rewrites out: streamed, without duplicates, shard by shard, on this machine or on a Ray cluster.

Reading, cutting and looking for duplicates is done by one process, in the order of the files, so every run sees the same parts;
rewriting, the check and writing are done a part at a time, by this process or by Ray's workers, which need nothing but the
output directory and the model's address. A run that was killed goes on: what is done is recognised and left alone.
"""

import json
import tempfile
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

from k2lib.corpus.readers import read_corpus
from k2lib.llm.budget import Budget
from k2lib.progress import Progress, silent
from k2lib.serving.open import Spoken, open_model
from k2lib.synth import shards
from k2lib.synth.cluster import Cluster
from k2lib.synth.duplicates import Seen
from k2lib.synth.passages import Passage, parts, passages
from k2lib.synth.rephrase import run as until_done
from k2lib.synth.shards import Settings
from k2lib.synth.work import Run, rewritten

LISTED = 100  # skipped files that the manifest names; it counts all


def rephrase_corpus(
    source: Path | str,
    directory: Path | str,
    settings: Settings,
    model: Spoken,
    *,
    engine: str = "local",
    workers: int = 1,
    concurrency: int = 16,
    budget: Budget | None = None,
    part_characters: int = 1 << 20,
    progress: Progress = silent,
) -> dict:
    """Rewrites every passage of the documents below `source` and returns the manifest, which `directory` then holds too.

    `directory/accepted` holds JSON lines that `K2_CORPUS` reads, `rejected` what failed the check and why. ValueError for
    settings that cannot be met, or a directory with rewrites of other settings; BudgetError when the budget is spent and
    ChatError when the model fails altogether: what was finished stays, and the same command goes on from there.
    """
    directory, budget = Path(directory), budget or Budget()
    _check(directory, settings, engine, workers)
    counts, skipped = Counter(), {}
    with tempfile.TemporaryDirectory() as scratch, closing(Seen(Path(scratch) / "seen.db")) as seen:
        documents = read_corpus(source, skipped.__setitem__, what="INPUT", strict=False)
        stream = enumerate(parts(passages(documents, seen, counts), part_characters))
        run = Run(str(directory), settings, model, concurrency, budget)
        work = _ray(stream, run, workers, counts) if engine == "ray" else _local(stream, run, counts)
        for counted in progress(work, "rewrite parts", None):
            counts.update(counted)
            counts["parts"] += 1
    counts["stale parts removed"] = shards.forget(directory, counts["parts"])
    spent = {"requests": budget.requests} | asdict(budget.used) | {"cost": budget.cost(budget.used)}
    why = dict(Counter(_without_place(reason) for reason in skipped.values()))
    manifest = {"settings": _plain(settings), "counts": dict(+counts), "spent": spent, "skipped": why}
    manifest["skipped_files"] = dict(sorted(skipped.items())[:LISTED])
    shards.written(directory / "manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False))
    return manifest


def _check(directory: Path, settings: Settings, engine: str, workers: int) -> None:
    if engine not in ("local", "ray"):
        raise ValueError(f"unknown engine {engine!r}; choose local or ray")
    if workers < 1:
        raise ValueError(f"workers is {workers}; at least one does the work")
    told = directory / "settings.json"
    wanted = _plain(settings)
    if told.exists() and json.loads(told.read_text(encoding="utf-8")) != wanted:
        raise ValueError(
            f"{directory} holds rewrites of other settings ({told}); choose another directory or remove it"
        )
    shards.written(told, json.dumps(wanted, indent=1))


def _plain(settings: Settings) -> dict:
    """As JSON gives it back."""
    return asdict(settings) | {"styles": list(settings.styles)}


def _local(stream: Iterator[tuple[int, list[Passage]]], run: Run, counts: Counter) -> Iterator[Counter]:
    model = open_model(run.model, run.settings.seed)
    for number, part in stream:
        finished = shards.done(Path(run.directory), number, part, run.settings)
        counts["parts done before"] += finished is not None
        yield finished if finished is not None else until_done(rewritten(run, number, part, model))


def _ray(stream: Iterator[tuple[int, list[Passage]]], run: Run, workers: int, counts: Counter) -> Iterator[Counter]:
    """At most `workers` parts are in flight, each with an equal share of what is left of the budget."""
    flying: deque = deque()
    with Cluster(workers) as cluster:
        for number, part in stream:
            finished = shards.done(Path(run.directory), number, part, run.settings)
            counts["parts done before"] += finished is not None
            if finished is not None:
                yield finished
                continue
            if len(flying) == workers:
                yield _landed(cluster, flying, run.budget)
            flying.append(cluster.start(replace(run, budget=run.budget.share(workers - len(flying))), number, part))
        while flying:
            yield _landed(cluster, flying, run.budget)


def _landed(cluster: Cluster, flying: deque, budget: Budget) -> Counter:
    """What the part that flies longest counted. BudgetError or ChatError if it was not finished."""
    outcome = cluster.wait(flying.popleft())
    budget.settle_share(outcome.budget)
    if outcome.error is not None:
        raise outcome.error
    return outcome.counts


def _without_place(reason: str) -> str:
    """Why a file was skipped, its own name left out, so that equal reasons count as one."""
    return " ".join("…" if "/" in word else word for word in reason.split())[:120]

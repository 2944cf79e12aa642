"""What the corpus tells of the generated world: passages, two rewrites of each that the check accepts, and questions."""

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from k2lib.corpus.documents import Document
from k2lib.corpus.world import TELLING, World
from k2lib.llm.scripted import ScriptedChat
from k2lib.profiles import Profile
from k2lib.progress import Progress, silent
from k2lib.stages.stage import stage
from k2lib.synth.rephrase import rephrase_all, run

REWRITES = 2  # of a passage: K2 rephrased no corpus more often (section 2.2)
AT_ONCE = 500  # passages


def knowledge(profile: Profile, seed: int = 0, progress: Progress = silent) -> Path:
    """A directory with `documents.jsonl`, which `documents` reads, and `counts.json`: passages, accepted and rejected rewrites."""
    size = profile.corpus

    def make(directory: Path) -> None:
        world, counts = World.generate(seed, size.people), Counter()
        with (directory / "documents.jsonl").open("w", encoding="utf-8") as file:
            for some in progress(_runs(world.documents(size.documents_per_person, seed)), "rephrase knowledge", None):
                for document in [*some, *_rewritten(some, seed, counts)]:
                    file.write(json.dumps(asdict(document)) + "\n")
        (directory / "counts.json").write_text(json.dumps(counts), encoding="utf-8")

    key = {"seed": seed, "people": size.people, "passages": size.documents_per_person}
    return stage("knowledge", key, make)


def documents(directory: Path) -> Iterator[Document]:
    with (directory / "documents.jsonl").open(encoding="utf-8") as file:
        for line in file:
            yield Document(**json.loads(line))


def _runs(stream: Iterator[Document]) -> Iterator[list[Document]]:
    some: list[Document] = []
    for document in stream:
        some.append(document)
        if len(some) == AT_ONCE:
            yield some
            some = []
    if some:
        yield some


def _rewritten(some: list[Document], seed: int, counts: Counter) -> list[Document]:
    """The accepted rewrites of the passages among them, in styles drawn by each one's text; questions stay as they are.

    Styles that ask and answer are left out: they would put the questions of evaluation into the corpus.
    """
    passages = [document for document in some if document.kind == "world"]
    wanted = [
        (document, style)
        for document in passages
        for style in random.Random(f"{seed}/{document.text}").sample(TELLING, REWRITES)
    ]
    pairs = [(document.text, style) for document, style in wanted]
    written = run(rephrase_all(ScriptedChat(seed), pairs, seed=seed)) if pairs else []
    accepted = [
        replace(document, text=one.text, source=f"{document.source}, rewritten as {style}", kind="rephrased")
        for (document, style), one in zip(wanted, written, strict=True)
        if one.verdict.faithful
    ]
    counts.update(passages=len(passages), accepted=len(accepted), rejected=len(written) - len(accepted))
    return accepted

"""From a folder of documents to passages worth rewriting: cut to the model's excerpt, without what was read before."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from k2lib.corpus.documents import Document
from k2lib.synth.duplicates import Seen
from k2lib.synth.rephrase import excerpts

FEWEST_WORDS = 8  # of a passage; less is a heading or a line of a table


@dataclass(frozen=True)
class Passage:
    text: str
    source: str  # file or name of the document
    sha256: str  # of the text, the first 16 digits


def passages(documents: Iterable[Document], seen: Seen, counts: Counter) -> Iterator[Passage]:
    """Excerpts of the documents in their order; `counts` learns how many there were, and why others were left out."""
    for document in documents:
        counts["documents"] += 1
        for text in excerpts(document.text):
            if len(text.split(maxsplit=FEWEST_WORDS)) < FEWEST_WORDS:
                counts["too short"] += 1
            elif how := seen.duplicate(text):
                counts[f"{how} duplicates"] += 1
            else:
                counts["passages"] += 1
                counts["characters"] += len(text)
                yield Passage(text, document.source, sha256(text))


def parts(stream: Iterable[Passage], characters: int) -> Iterator[list[Passage]]:
    """Runs of passages, each of about so many characters: the unit of work, of writing and of going on after a crash."""
    part, size = [], 0
    for passage in stream:
        part.append(passage)
        size += len(passage.text)
        if size >= characters:
            yield part
            part, size = [], 0
    if part:
        yield part


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]

"""What `k2 rephrase` does beside the model: reading, cutting and duplicates, the same with datasketch's MinHash, and the check.

The text is the interpreter's own documentation and sources; rates are megabytes of text a second on one core.
"""

import importlib.util
import random
import tempfile
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from k2lib.bench.rounds import in_turns, report
from k2lib.corpus.readers import read_corpus
from k2lib.corpus.stdlib import stdlib_documents
from k2lib.corpus.world.restyle import rewrite
from k2lib.synth.duplicates import NEAR, PLACES, Seen
from k2lib.synth.fidelity import verify
from k2lib.synth.passages import Passage, passages

MEGABYTES = 8
CHECKED = 2  # megabytes, of which rewrites are checked


def run(dtype: str = "auto", rounds: int = 7) -> dict:
    """Times each on equal text; `dtype` is what the other benches take, and nothing here."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in"
        source.mkdir()
        for number, document in enumerate(stdlib_documents(MEGABYTES * 1_000_000)):
            (source / f"{number:05d}.txt").write_text(document.text, encoding="utf-8")
        found = _read(source, Path(folder) / "seen.db")
        size, some = sum(len(p.text) for p in found) / 1e6, _first(found, CHECKED * 1_000_000)
        pairs = [(p.text, rewrite(p.text, "letter", random.Random(0), opened=True)) for p in some]
        checked = sum(len(p.text) for p in some) / 1e6
        ways = {
            "read, cut, look for duplicates": lambda: _read(source, Path(folder) / "seen.db"),
            "duplicates alone": lambda: _seen(found, Path(folder) / "seen.db"),
            "check of fidelity": lambda: [verify(*pair) for pair in pairs],
        }
        if importlib.util.find_spec("datasketch"):
            ways["duplicates alone, datasketch"] = lambda: _datasketch(found)
        timings = in_turns(ways, rounds)
    rates = {name: (checked if "check" in name else size) / time.median for name, time in timings.items()}
    extra = {name: {"MB/s": round(rate, 2)} for name, rate in rates.items()}
    return report(f"{len(found)} passages, {size:.1f} MB", timings, extra)


def _read(source: Path, place: Path) -> list[Passage]:
    with closing(Seen(place)) as seen:
        return list(passages(read_corpus(source), seen, Counter()))


def _seen(found: Iterable[Passage], place: Path) -> list[str]:
    with closing(Seen(place)) as seen:
        return [seen.duplicate(passage.text) for passage in found]


def _datasketch(found: Iterable[Passage]) -> list[bool]:
    """The usual way: shingles of five words, its own MinHash of as many places, its own index."""
    from datasketch import MinHash, MinHashLSH

    index, out = MinHashLSH(threshold=NEAR, num_perm=PLACES), []
    for number, passage in enumerate(found):
        words = passage.text.lower().split()
        shingles = {" ".join(words[i : i + 5]).encode() for i in range(max(1, len(words) - 4))}
        signature = MinHash(num_perm=PLACES)
        signature.update_batch(shingles)
        out.append(bool(index.query(signature)))
        index.insert(number, signature)
    return out


def _first(found: list[Passage], characters: int) -> list[Passage]:
    some, size = [], 0
    for passage in found:
        if size < characters:
            some.append(passage)
            size += len(passage.text)
    return some

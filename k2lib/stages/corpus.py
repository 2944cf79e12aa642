"""The corpus: real text and code, the generated world and mathematics, as packed token shards with their tokenizer."""

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from k2lib import places
from k2lib.corpus import arithmetic, packing, recitals, stdlib
from k2lib.corpus.documents import Document
from k2lib.corpus.readers import Skip, user_corpus_key, user_documents
from k2lib.corpus.tokenizer import Tokenizer
from k2lib.corpus.world import World
from k2lib.llm import chat
from k2lib.profiles import CorpusSize, Profile
from k2lib.progress import Progress, silent
from k2lib.stages import knowledge
from k2lib.stages.stage import stage

SAMPLE = 4000  # documents, at most, that the tokenizer is trained on …
SAMPLED = 24_000  # … and characters of each
TALK = places.DATA / "tool_talk.jsonl"  # conversations, one a line
LISTED = 100  # skipped files that the manifest names; it counts all


@dataclass(frozen=True)
class Corpus:
    dir: Path
    tokenizer: Tokenizer
    world: World
    words: list[str]  # the most frequent ones of its texts
    dataset: packing.PackedDataset
    manifest: dict


def corpus(profile: Profile, seed: int = 0, progress: Progress = silent) -> Corpus:
    """The corpus of a profile and seed; the user's own documents ($K2_CORPUS) come first."""
    size = profile.corpus
    world = World.generate(seed, size.people)

    def make(directory: Path) -> None:
        skipped: dict[str, str] = {}  # file -> why

        told = knowledge.knowledge(profile, seed, progress)
        words = _words(size, told)
        (directory / "words.json").write_text(json.dumps(words), encoding="utf-8")

        def documents() -> Iterator[Document]:  # read anew each time, so that memory does not grow with them
            return _documents(profile, told, words, seed, skipped.__setitem__)

        count = sum(1 for _ in progress(documents(), "read documents", None))
        sample = itertools.islice(documents(), 0, None, max(1, count // SAMPLE))
        texts = itertools.chain((d.text[:SAMPLED] for d in sample), _tool_talk())
        tokenizer = Tokenizer.train(texts, size.vocab_size)
        tokenizer.save(directory / "tokenizer")
        shown = progress(documents(), "pack tokens", count)
        reasons, files = dict(Counter(skipped.values())), dict(sorted(skipped.items())[:LISTED])
        rewrites = json.loads((told / "counts.json").read_text(encoding="utf-8"))
        meta = {"seed": seed, "rewrites": rewrites, "skipped": reasons, "skipped_files": files}
        packing.write_shards(shown, tokenizer, directory / "shards", size.shard_tokens, meta)

    talk = hashlib.sha256(TALK.read_bytes()).hexdigest()[:12]
    path = stage("corpus", {"size": asdict(size), "seed": seed, "user": user_corpus_key(), "talk": talk}, make)
    dataset = packing.PackedDataset(path / "shards")
    words = json.loads((path / "words.json").read_text(encoding="utf-8"))
    return Corpus(path, Tokenizer.load(path / "tokenizer"), world, words, dataset, dataset.manifest)


def _documents(profile: Profile, told: Path, words: list[str], seed: int, skip: Skip) -> Iterator[Document]:
    size = profile.corpus
    yield from user_documents(skip)
    yield from stdlib.stdlib_documents(size.stdlib_bytes)
    yield from knowledge.documents(told)
    yield from arithmetic.documents(size.math_problems, seed, size.largest_number)
    yield from recitals.documents(size.recitals, seed, words)


def _words(size: CorpusSize, told: Path) -> list[str]:
    read = itertools.chain(stdlib.stdlib_documents(size.stdlib_bytes), knowledge.documents(told))
    return recitals.vocabulary(document.text for document in read)


def _tool_talk() -> Iterator[str]:
    """Declared tools, calls and results of forty conversations, so that the tokenizer has seen the JSON that fine-tuning is full of.

    They are a fixed sample: with those that `k2lib.agents` makes today, any change there would change every model.
    """
    for line in TALK.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        pieces = chat.segments(row["messages"], row["tools"], add_generation_prompt=False)
        yield "\n".join(piece.text for piece in pieces if not piece.control)

"""The corpus: real text and code, the generated world and mathematics, as packed token shards with their tokenizer."""

import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from k2lib.agents import trajectories
from k2lib.corpus import arithmetic, packing, stdlib
from k2lib.corpus.documents import Document
from k2lib.corpus.readers import user_corpus_key, user_documents
from k2lib.corpus.tokenizer import Tokenizer
from k2lib.corpus.world import World
from k2lib.llm import chat
from k2lib.profiles import Profile
from k2lib.progress import Progress, silent
from k2lib.stages.stage import stage

SAMPLE = 4000  # documents, at most, that the tokenizer is trained on


@dataclass(frozen=True)
class Corpus:
    dir: Path
    tokenizer: Tokenizer
    world: World
    dataset: packing.PackedDataset
    manifest: dict


def corpus(profile: Profile, seed: int = 0, progress: Progress = silent) -> Corpus:
    """The corpus of a profile and seed; the user's own documents ($K2_CORPUS) come first."""
    size = profile.corpus
    world = World.generate(seed, size.people)

    def make(directory: Path) -> None:
        documents = list(progress(_documents(profile, world, seed), "read documents", None))
        sample = documents[:: max(1, len(documents) // SAMPLE)]
        texts = itertools.chain((d.text for d in sample), _tool_declarations())
        tokenizer = Tokenizer.train(texts, size.vocab_size)
        tokenizer.save(directory / "tokenizer")
        shown = progress(documents, "pack tokens", len(documents))
        packing.write_shards(shown, tokenizer, directory / "shards", size.shard_tokens, {"seed": seed})

    path = stage("corpus", {"size": asdict(size), "seed": seed, "user": user_corpus_key()}, make)
    dataset = packing.PackedDataset(path / "shards")
    return Corpus(path, Tokenizer.load(path / "tokenizer"), world, dataset, dataset.manifest)


def _documents(profile: Profile, world: World, seed: int) -> Iterator[Document]:
    size = profile.corpus
    yield from user_documents()
    yield from stdlib.stdlib_documents(size.stdlib_bytes)
    yield from world.documents(size.documents_per_person, seed)
    yield from arithmetic.documents(size.math_problems, seed, size.largest_number)


def _tool_declarations() -> Iterator[str]:
    """Declared tools and calls, so that the tokenizer has seen the JSON that fine-tuning is full of."""
    kept, _ = trajectories.generate(400, seed=1)
    for trajectory in kept:
        row = trajectory.row()
        yield chat.render(row["messages"], row["tools"])

"""New knowledge for a model that has the language: what the studies of rephrasing have in common (section 2.2, Table 1).

A base model learns people of the generated world from documents and rewrites, and from questions about half of them what a
question is. Then it reads about new people, in the form that an arm of the study gives, and is asked what it never read as a
question. Seed 0 belongs to the sizes, which were chosen on it; run r of a study takes seed r + 1.
"""

import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from k2lib import machine
from k2lib.config import K2Config
from k2lib.corpus.tokenizer import Tokenizer
from k2lib.corpus.world import QA, STYLES, TELLING, World, question_text
from k2lib.corpus.world.restyle import rewrite
from k2lib.model import K2Model
from k2lib.optim import MuonClip, schedule
from k2lib.profiles import IngestionSize
from k2lib.progress import Progress, silent
from k2lib.train import Batch, train


@dataclass(frozen=True)
class School:
    """A base model with its tokenizer, the people it has never met, and the texts it learned from."""

    model: K2Model
    tokenizer: Tokenizer
    world: World
    new: list[str]
    learned: np.ndarray  # tokens of the base corpus, from which the replay is taken


def school(config: K2Config, size: IngestionSize, seed: int, progress: Progress = silent) -> School:
    """The base model of a seed, which knows the first `size.people` of its world."""
    world = World.generate(seed, size.people + size.new)
    known, new = world.people[: size.people], world.people[size.people :]
    texts = _lessons(world, known, seed)
    tokenizer = Tokenizer.train(texts, config.vocab_size)
    learned = tokens_of(texts, tokenizer)
    torch.manual_seed(seed)
    model = K2Model(config).to(machine.device())

    def batches(_start: int) -> Iterator[Batch]:
        return map(Batch.from_sequences, _windows(learned, size.batch_size, size.seq_len, seed))

    _trained(model, batches, size, size.steps, size.lr, f"base model, seed {seed}", progress)
    return School(model, tokenizer, world, new, learned)


def _lessons(world: World, people: list[str], seed: int) -> list[str]:
    """Two documents of everyone, two rewrites of one of them, and for every other person the questions, both ways."""
    rng = random.Random(f"lessons/{seed}")
    texts = []
    for person in people:
        first, second = (world.document(person, style, rng) for style in rng.sample(STYLES, 2))
        texts += [first, second, *(rewrite(first, style, rng) for style in rng.sample(TELLING, 2))]
    for person in people[::2]:
        asked = world.questions(person)
        texts.append("\n".join(question_text(qa.question, qa.answer) for qa in rng.sample(asked, len(asked))))
        texts.append(question_text(*backwards(person, asked)))
    rng.shuffle(texts)
    return texts


def backwards(person: str, asked: list[QA]) -> tuple[str, str]:
    """(question, answer) that goes from a fact to its person."""
    book = next(qa.answer for qa in asked if qa.fact.relation == "wrote")
    return f"Who wrote {book}?", person


def ingest(
    of: School, texts: list[list[str]], budget: int, size: IngestionSize, seed: int, progress: Progress, name: str
) -> K2Model:
    """A copy of the base model that has read `budget` tokens of new text beside as many of the old.

    `texts` holds passes, which are read one after the other and then again from the first; each in an order of its own.
    """
    model = copy.deepcopy(of.model)
    half, rng = size.batch_size // 2, random.Random(f"ingest/{seed}")
    steps = max(1, budget // (half * size.seq_len))
    stream: list[int] = []
    number = 0
    while len(stream) <= steps * half * size.seq_len:
        one = texts[number % len(texts)]
        stream += tokens_of(rng.sample(one, len(one)), of.tokenizer).tolist()
        number += 1

    def batches(_start: int) -> Iterator[Batch]:
        replay = _windows(of.learned, half, size.seq_len, seed)
        for step in range(steps):
            at = step * half * size.seq_len
            rows = [stream[at + r * size.seq_len :][: size.seq_len + 1] for r in range(half)]
            yield Batch.from_sequences(torch.cat([torch.tensor(rows), next(replay)]))

    _trained(model, batches, size, steps, size.ingest_lr, name, progress)
    return model


def tokens_of(texts: list[str], tokenizer: Tokenizer) -> np.ndarray:
    """All texts, each ended by [EOS], as one array."""
    return np.concatenate([[*ids, tokenizer.eos_id] for ids in tokenizer.encode_batch(texts)]).astype(np.int64)


def _windows(stream: np.ndarray, rows: int, length: int, seed: int) -> Iterator[Tensor]:
    """[rows, length + 1] for ever, from random places of the stream."""
    rng = np.random.default_rng(seed)
    while True:
        starts = rng.integers(0, len(stream) - length - 1, rows)
        yield torch.from_numpy(np.stack([stream[s : s + length + 1] for s in starts]))


def _trained(
    model: K2Model, batches, size: IngestionSize, steps: int, lr: float, name: str, progress: Progress
) -> None:
    optimizer = MuonClip.for_model(model, lr=lr, tau=100.0)
    warmup = min(size.warmup, steps)
    how = {"lr_at": lambda step: schedule.wsd(step, lr=lr, warmup=warmup, total=steps), "description": name}
    train(model, optimizer, batches, steps=steps, progress=progress, **how)

"""Batches that teach a base model to look back: cycles of random tokens first, then look-ups beside text.

Cycles make a model copy (after about a million tokens of them, suddenly), the sooner the shorter the sequences are, since a short one
says the same thing often and little else. Look-ups then make it find what to copy, in whatever form it stands; they need more room.
"""

import random
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from k2lib.corpus import recitals
from k2lib.corpus.packing import PackedDataset
from k2lib.corpus.tokenizer import Tokenizer
from k2lib.train.batch import Batch

PERIOD = (3, 24)  # tokens of a cycle


def copying(
    text: PackedDataset, tokenizer: Tokenizer, batch_size: int, seq_len: int, seed: int
) -> Callable[[int], Iterator[Batch]]:
    """`start -> batches from step start on` of `batch_size` x `seq_len` tokens, half text and half cycles.

    ValueError for fewer than two sequences a batch.
    """
    if batch_size < 2:
        raise ValueError(f"batch_size is {batch_size}; give at least 2, one sequence of text and one cycle")
    ids, half = [i for i in range(tokenizer.vocab_size) if tokenizer.control_name(i) is None], batch_size // 2

    def stream(start: int) -> Iterator[Batch]:
        for step, read in enumerate(text.batches(half, seq_len, seed=seed, start_step=start), start):
            drawn = torch.Generator().manual_seed(random.Random(f"copying/{seed}/{step}").getrandbits(48))
            yield Batch.from_sequences(torch.cat([read, cycles(batch_size - half, seq_len + 1, ids, drawn)]))

    return stream


def looking_up(
    text: PackedDataset, tokenizer: Tokenizer, known: list[str], batch_size: int, seq_len: int, seed: int
) -> Callable[[int], Iterator[Batch]]:
    """The same, a third of it text and the rest look-ups of words that are `known`; ValueError for fewer than three sequences."""
    if batch_size < 3:
        raise ValueError(f"batch_size is {batch_size}; give at least 3, one sequence of text and two of look-ups")
    third = batch_size // 3

    def stream(start: int) -> Iterator[Batch]:
        for step, read in enumerate(text.batches(third, seq_len, seed=seed, start_step=start), start):
            rng = random.Random(f"looking up/{seed}/{step}")
            told = _look_ups(rng, tokenizer, known, batch_size - third, seq_len + 1)
            yield Batch.from_sequences(torch.cat([read, told]))

    return stream


def cycles(count: int, length: int, ids: list[int], drawn: torch.Generator) -> Tensor:
    """[count, length]: in each row a few of the `ids`, then other ones again and again."""
    known = torch.tensor(ids)
    rows = []
    for _ in range(count):
        period = int(torch.randint(PERIOD[0], PERIOD[1] + 1, (), generator=drawn))
        before = int(torch.randint(0, PERIOD[1] // 2, (), generator=drawn))
        told = known[torch.randint(len(known), (before + period,), generator=drawn)]
        rows.append(torch.cat([told, told[before:].repeat(length // period)])[:length])
    return torch.stack(rows)


def _look_ups(rng: random.Random, tokenizer: Tokenizer, known: list[str], count: int, length: int) -> Tensor:
    ids: list[int] = []
    while len(ids) < count * length:
        ids += [*tokenizer.encode(recitals.look_up(rng, known)), tokenizer.eos_id]
    return torch.tensor(ids[: count * length]).view(count, length)

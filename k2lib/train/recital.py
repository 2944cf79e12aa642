"""Batches that teach a base model to look back: short sequences of its text, of look-ups, and of cycles of random tokens.

Cycles alone make a model copy (after about a million tokens, suddenly), the sooner the shorter the sequences are, since a short one says
the same thing often and little else. Look-ups then make it find what to copy, in whatever form it stands; they need more room.
"""

import itertools
import random
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from k2lib.corpus import recitals
from k2lib.corpus.packing import PackedDataset
from k2lib.corpus.tokenizer import Tokenizer
from k2lib.train.batch import Batch

PERIOD = (3, 24)  # tokens of a cycle
COPYING = 0.6  # of the steps, before look-ups come


def batches(
    text: PackedDataset, tokenizer: Tokenizer, known: list[str], batch_size: int, seq_len: int, steps: int, seed: int
) -> Callable[[int], Iterator[Batch]]:
    """`start -> batches from step start on`, all of `batch_size` x `seq_len` tokens.

    In the first part of the `steps` twice as many sequences of half the length, half of them text and half cycles; then a third
    text, a third look-ups of words that are `known`, the rest cycles. ValueError for fewer than three sequences a batch.
    """
    if batch_size < 3:
        raise ValueError(f"batch_size is {batch_size}; give at least 3, one sequence of each kind")
    ids = [i for i in range(tokenizer.vocab_size) if tokenizer.control_name(i) is None]
    turn, third = round(COPYING * steps), batch_size // 3

    def stream(start: int) -> Iterator[Batch]:
        brief = text.batches(batch_size, seq_len // 2, seed=seed, start_step=min(start, turn))
        longer = text.batches(third, seq_len, seed=seed, start_step=max(0, start - turn))
        for step in itertools.count(start):
            rng = random.Random(f"recital/{seed}/{step}")
            drawn = torch.Generator().manual_seed(rng.getrandbits(48))
            if step < turn:
                rows = [next(brief), cycles(batch_size, seq_len // 2 + 1, ids, drawn)]
            else:
                told = _look_ups(rng, tokenizer, known, third, seq_len + 1)
                rows = [next(longer), told, cycles(batch_size - 2 * third, seq_len + 1, ids, drawn)]
            yield Batch.from_sequences(torch.cat(rows))

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

"""Supervised fine-tuning on conversations (§3.1 of the paper: Muon again, for a model that Muon pre-trained).

A row is `{"messages": [...], "tools": [...]}`. Only what the assistant says is trained, its tool calls and the end of its
turn included: a model that never learns `<|im_end|>` never stops. Rows are packed into sequences of one length, and no row sees
another.
"""

import random
from collections.abc import Callable, Iterable, Iterator

from k2lib.corpus.tokenizer import Tokenizer
from k2lib.llm import chat
from k2lib.train.batch import Batch

Row = tuple[list[int], list[bool]]
OPEN = 32  # sequences that are filled at a time


def encode_rows(rows: list[dict], tokenizer: Tokenizer, seq_len: int) -> tuple[list[Row], int]:
    """Token ids and trained masks of the rows that fit `seq_len` tokens, and the number of rows that did not."""
    encoded = [
        chat.encode(tokenizer, row["messages"], row.get("tools") or None, add_generation_prompt=False) for row in rows
    ]
    fitting = [(list(ids), list(mask)) for ids, mask in encoded if len(ids) <= seq_len + 1 and any(mask[1:])]
    return fitting, len(encoded) - len(fitting)


def batches(rows: list[Row], batch_size: int, seq_len: int, pad: int, seed: int) -> Callable[[int], Iterator[Batch]]:
    """`start -> batches from step start on`: epochs in a seeded order, `batch_size` packed sequences of `seq_len` tokens each.

    ValueError if all rows together do not fill one batch.
    """
    if len(packed(range(len(rows)), rows, seq_len)) < batch_size:
        raise ValueError(
            f"{len(rows)} rows cannot fill {batch_size} sequences of {seq_len} tokens; make more rows or lower batch_size"
        )

    def epoch(number: int) -> list[list[list[int]]]:
        rng = random.Random(f"{seed}/{number}")
        sequences = packed(rng.sample(range(len(rows)), len(rows)), rows, seq_len)
        rng.shuffle(sequences)
        return [sequences[i : i + batch_size] for i in range(0, len(sequences) - batch_size + 1, batch_size)]

    def stream(start: int) -> Iterator[Batch]:
        number = 0
        while start >= len(steps := epoch(number)):  # epochs may differ by a batch
            number, start = number + 1, start - len(steps)
        while True:
            for sequences in epoch(number)[start:]:
                yield Batch.from_packed([[rows[i] for i in sequence] for sequence in sequences], seq_len, pad)
            number, start = number + 1, 0

    return stream


def packed(order: Iterable[int], rows: list[Row], seq_len: int) -> list[list[int]]:
    """The rows in sequences of at most `seq_len` tokens: each goes into the first of the last OPEN ones that has room."""
    sequences: list[list[int]] = []
    room: list[int] = []
    for row in order:
        length = len(rows[row][0]) - 1  # the last token is only a target
        fits = next((i for i in range(max(0, len(sequences) - OPEN), len(sequences)) if room[i] >= length), None)
        if fits is None:
            fits = len(sequences)
            sequences.append([])
            room.append(seq_len)
        sequences[fits].append(row)
        room[fits] -= length
    return sequences

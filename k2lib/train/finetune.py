"""Supervised fine-tuning on conversations (§3.1 of the paper: Muon again, for a model that Muon pre-trained).

A row is `{"messages": [...], "tools": [...]}`. Only what the assistant says is trained, its tool calls and the end of its
turn included: a model that never learns `<|im_end|>` never stops. Rows of similar length share a batch, so that little of
it is padding.
"""

import random
from collections.abc import Callable, Iterator

from k2lib.corpus.tokenizer import Tokenizer
from k2lib.llm import chat
from k2lib.train.batch import Batch

Row = tuple[list[int], list[bool]]


def encode_rows(rows: list[dict], tokenizer: Tokenizer, seq_len: int) -> tuple[list[Row], int]:
    """Token ids and trained masks of the rows that fit `seq_len` tokens, and the number of rows that did not."""
    encoded = [
        chat.encode(tokenizer, row["messages"], row.get("tools") or None, add_generation_prompt=False) for row in rows
    ]
    fitting = [(list(ids), list(mask)) for ids, mask in encoded if len(ids) <= seq_len + 1 and any(mask[1:])]
    return fitting, len(encoded) - len(fitting)


def batches(rows: list[Row], batch_size: int, pad: int, seed: int) -> Callable[[int], Iterator[Batch]]:
    """`start -> batches from step start on`: epochs in a seeded order, lengths grouped within windows of 16 batches."""
    if len(rows) < batch_size:
        raise ValueError(f"{len(rows)} rows cannot fill a batch of {batch_size}; make more rows or lower batch_size")

    def epoch(number: int) -> list[list[int]]:
        rng = random.Random(f"{seed}/{number}")
        order = rng.sample(range(len(rows)), len(rows))
        window = 16 * batch_size
        grouped = []
        for i in range(0, len(order), window):
            chunk = sorted(order[i : i + window], key=lambda r: len(rows[r][0]))
            grouped += [chunk[j : j + batch_size] for j in range(0, len(chunk) - batch_size + 1, batch_size)]
        rng.shuffle(grouped)
        return grouped

    def stream(start: int) -> Iterator[Batch]:
        number, first = divmod(start, len(epoch(0)))
        while True:
            for indices in epoch(number)[first:]:
                yield Batch.from_ragged([rows[i] for i in indices], pad)
            number, first = number + 1, 0

    return stream

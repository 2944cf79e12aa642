"""The end of pre-training: what its batches hold, and that they depend on seed and step alone."""

import itertools

import pytest
import torch

from k2lib.corpus import packing
from k2lib.corpus.documents import Document
from k2lib.train import recital

KNOWN = ["owner", "colour", "milk", "harbour"]


@pytest.fixture(scope="module")
def text(tiny_tokenizer, tmp_path_factory) -> packing.PackedDataset:
    directory = tmp_path_factory.mktemp("recital")
    documents = [Document("One two three four five. " * 60, f"d{i}", "text", "CC0") for i in range(40)]
    packing.write_shards(documents, tiny_tokenizer, directory, 1 << 14, {"seed": 0})
    return packing.PackedDataset(directory)


def test_a_cycle_says_its_tokens_again_until_the_end():
    ids = list(range(100, 140))
    rows = recital.cycles(200, 65, ids, torch.Generator().manual_seed(0))
    assert rows.shape == (200, 65) and set(rows.flatten().tolist()) <= set(ids)
    periods = []
    for row in rows.tolist():
        found = [p for p in range(1, 25) if row[12 + p :] == row[12:-p]]  # at most 12 tokens come before it
        assert found, row
        periods.append(found[0])
    assert len(set(periods)) > 15 and max(periods) == 24


def test_first_half_of_each_batch_is_cycles_then_a_third_is_each_kind(text, tiny_tokenizer):
    make = recital.batches(text, tiny_tokenizer, KNOWN, 8, 64, steps=10, seed=3)
    brief, longer = next(make(5)), next(make(6))
    assert brief.tokens.shape == (16, 32) and longer.tokens.shape == longer.targets.shape == (8, 64)
    assert torch.equal(brief.tokens[:8], next(text.batches(8, 32, seed=3, start_step=5))[:, :-1])
    read, told, cycles = longer.tokens[:2], longer.tokens[2:4], longer.tokens[4:]
    assert torch.equal(read, next(text.batches(2, 64, seed=3))[:, :-1])
    assert any(word in tiny_tokenizer.decode(told.flatten().tolist()) for word in KNOWN)
    drawn = [*cycles.flatten().tolist(), *brief.tokens[8:].flatten().tolist()]
    assert all(tiny_tokenizer.control_name(i) is None for i in drawn) and len(set(drawn)) > 50


def test_a_run_that_was_stopped_reads_on_where_it_was(text, tiny_tokenizer):
    make = recital.batches(text, tiny_tokenizer, KNOWN, 6, 32, steps=5, seed=0)
    whole = list(itertools.islice(make(0), 6))
    for start in (1, 3, 5):
        for one, again in zip(whole[start:], make(start), strict=False):
            assert torch.equal(one.tokens, again.tokens) and torch.equal(one.targets, again.targets)
    assert not torch.equal(whole[0].tokens, whole[1].tokens) and not torch.equal(whole[4].tokens, whole[5].tokens)
    other = next(recital.batches(text, tiny_tokenizer, KNOWN, 6, 32, steps=5, seed=1)(0))
    assert not torch.equal(other.tokens, whole[0].tokens)


def test_too_small_a_batch_is_refused(text, tiny_tokenizer):
    with pytest.raises(ValueError, match="batch_size is 2; give at least 3"):
        recital.batches(text, tiny_tokenizer, KNOWN, 2, 32, steps=5, seed=0)

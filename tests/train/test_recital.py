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


def test_first_half_is_cycles_then_a_third_text_and_the_rest_look_ups(text, tiny_tokenizer):
    copied = next(recital.copying(text, tiny_tokenizer, 8, 64, seed=3)(5))
    recited = next(recital.looking_up(text, tiny_tokenizer, KNOWN, 8, 64, seed=3)(0))
    assert copied.tokens.shape == recited.tokens.shape == recited.targets.shape == (8, 64)
    assert torch.equal(copied.tokens[:4], next(text.batches(4, 64, seed=3, start_step=5))[:, :-1])
    drawn = copied.tokens[4:].flatten().tolist()
    assert all(tiny_tokenizer.control_name(i) is None for i in drawn) and len(set(drawn)) > 50
    assert all(any(row[-p:] == row[-2 * p : -p] for p in range(3, 25)) for row in copied.tokens[4:].tolist())
    read, told = recited.tokens[:2], recited.tokens[2:]
    assert torch.equal(read, next(text.batches(2, 64, seed=3))[:, :-1])
    for half in told.split(3):
        assert any(word in tiny_tokenizer.decode(half.flatten().tolist()) for word in KNOWN)


def test_a_run_that_was_stopped_reads_on_where_it_was(text, tiny_tokenizer):
    def streams(seed):
        looked = recital.looking_up(text, tiny_tokenizer, KNOWN, 6, 32, seed)
        return recital.copying(text, tiny_tokenizer, 6, 32, seed), looked

    for make, other in zip(streams(0), streams(1), strict=True):
        whole = list(itertools.islice(make(0), 6))
        for start in (1, 3, 5):
            for one, again in zip(whole[start:], make(start), strict=False):
                assert torch.equal(one.tokens, again.tokens) and torch.equal(one.targets, again.targets)
        assert not torch.equal(whole[0].tokens, whole[1].tokens) and not torch.equal(whole[4].tokens, whole[5].tokens)
        assert not torch.equal(next(other(0)).tokens, whole[0].tokens)


def test_too_small_a_batch_is_refused(text, tiny_tokenizer):
    with pytest.raises(ValueError, match="batch_size is 2; give at least 3"):
        recital.looking_up(text, tiny_tokenizer, KNOWN, 2, 32, seed=0)
    with pytest.raises(ValueError, match="batch_size is 1; give at least 2"):
        recital.copying(text, tiny_tokenizer, 1, 32, seed=0)

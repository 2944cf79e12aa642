"""One thread for every test, so that results repeat and two workers do not fight for two cores."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_tokenizer():
    """A byte-level tokenizer with a few merges and K2's control tokens."""
    from k2lib.corpus.tokenizer import Tokenizer

    return Tokenizer.train(["the quick brown fox jumps over the lazy dog " * 20], vocab_size=320)

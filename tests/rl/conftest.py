"""A model of two layers, before any training."""

import pytest
import torch

from k2lib import K2Config, K2Model
from k2lib.profiles import SMOKE


@pytest.fixture
def model(tiny_tokenizer):
    torch.manual_seed(0)
    return K2Model(
        K2Config.preset("nano").replace(
            **SMOKE.model | {"vocab_size": tiny_tokenizer.vocab_size, "num_hidden_layers": 2}
        )
    )

"""What `update` does with the gradients that lie in a model."""

import torch

from k2lib import K2Model
from k2lib.model import parity
from k2lib.optim import MuonClip
from k2lib.train import Batch
from k2lib.train.step import backward, update

TINY = parity.cases()["K2"]


def test_a_training_step_sets_the_rate_moves_the_selection_bias_and_clears_the_gradients():
    torch.manual_seed(0)
    model, tokens = K2Model(TINY).train(), torch.randint(0, TINY.vocab_size, (2, 33))
    optimizer = MuonClip.for_model(model, lr=1.0)
    backward(model, Batch.from_sequences(tokens))
    routers = [each.mlp.gate for each in model.layers if hasattr(each.mlp, "gate")]
    loads = [router.load.clone() for router in routers]
    update(model, optimizer, lr=1e-3, bias_rate=0.01)
    assert {group["lr"] for group in optimizer.param_groups} == {1e-3}
    for router, load in zip(routers, loads, strict=True):
        assert (router.e_score_correction_bias[load == load.max()] < router.e_score_correction_bias.max()).all()
        assert not router.load.any()
    assert all(p.grad is None for p in model.parameters())

"""What one step of MuonClip does, and in which order: decay of stacks, halves of a fused projection, the clip last."""

import copy
import math

import pytest
import torch
from torch.overrides import TorchFunctionMode

from k2lib import K2Model, machine
from k2lib.model import parity
from k2lib.optim import MuonClip, QKClip, newton_schulz
from k2lib.optim.schedule import wsd
from k2lib.train import Batch
from k2lib.train.step import backward

TINY = parity.cases()["K2"]
RATE, DECAY = 0.1, 0.5


@pytest.fixture
def model():
    torch.manual_seed(0)
    return K2Model(TINY).train()


def batch() -> Batch:
    tokens = torch.randint(0, TINY.vocab_size, (2, 33), generator=torch.Generator().manual_seed(1))
    return Batch.from_sequences(tokens)


def stepped(model: K2Model, **settings) -> K2Model:
    """A copy of the model, one step later."""
    other = copy.deepcopy(model)
    optimizer = MuonClip.for_model(other, lr=RATE, ns_dtype=torch.float32, **settings)
    backward(other, batch())
    optimizer.step()
    return other


def test_experts_that_ran_decay_and_idle_ones_do_not(model):
    decayed, plain = (stepped(model, weight_decay=decay, tau=None) for decay in (DECAY, 0.0))
    layer = next(i for i, each in enumerate(model.layers) if hasattr(each.mlp, "experts"))
    before = model.layers[layer].mlp.experts.gate_up_proj
    after, kept = (m.layers[layer].mlp.experts.gate_up_proj for m in (decayed, plain))
    ran = (kept != before).flatten(1).any(1)
    assert ran.any()
    torch.testing.assert_close((after - kept)[ran], -RATE * DECAY * before[ran], rtol=1e-4, atol=1e-7)
    assert torch.equal(after[~ran], before[~ran])


def test_gate_and_up_of_an_expert_are_orthogonalised_apart(model):
    after = stepped(model, weight_decay=0.0, tau=None)
    backward(model, batch())
    layer = next(each for each in model.layers if hasattr(each.mlp, "experts"))
    moved = next(each for each in after.layers if hasattr(each.mlp, "experts")).mlp.experts.gate_up_proj
    weight = layer.mlp.experts.gate_up_proj
    halves = weight.grad.unflatten(1, (2, -1))  # the first step's Nesterov direction is the gradient, but for its size
    expected = newton_schulz(halves, dtype=torch.float32) * -RATE * 0.2 * max(halves.shape[-2:]) ** 0.5
    torch.testing.assert_close((moved - weight).unflatten(1, (2, -1)), expected, rtol=1e-3, atol=1e-5)


def test_the_clip_acts_after_the_update(model):
    tau = 1e-3  # every head is above it
    both, updated = stepped(model, tau=tau), stepped(model, tau=None)
    QKClip(tau).step(updated)
    for (name, ours), other in zip(both.named_parameters(), updated.parameters(), strict=True):
        torch.testing.assert_close(ours, other, msg=name)
    assert any(not torch.equal(a, b) for a, b in zip(both.parameters(), model.parameters(), strict=True))


def test_a_head_that_was_clipped_once_stays_counted(model):
    optimizer = MuonClip.for_model(model, lr=0.0, tau=1e-3)
    backward(model, batch())
    optimizer.step()
    counted = optimizer.qk_clip.heads_ever_clipped
    optimizer.qk_clip.tau = 1e9
    backward(model, batch())
    optimizer.step()
    assert optimizer.qk_clip.heads_ever_clipped == counted > 0
    assert all((report.gamma == 1).all() for report in optimizer.clip_report.values())


def test_the_decay_of_the_rate_is_a_cosine():
    rates = [wsd(step, lr=1.0, warmup=0, total=100, decay=1.0) for step in range(100)]
    for step in (24, 49, 74):
        share = (step + 1) / 100
        assert rates[step] == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * share)))
    assert rates[24] > 0.1 + 0.9 * 0.75  # above the straight line at first


def test_a_captured_step_never_waits_for_the_device(monkeypatch):
    monkeypatch.setattr(machine, "capturing", lambda: True)
    with torch.device("meta"):  # has no numbers, so whatever would wait for one is an error
        model = K2Model(TINY).train()
    optimizer = MuonClip.for_model(model, lr=RATE, ns_dtype=torch.bfloat16)
    for _ in range(2):
        for parameter in model.parameters():
            parameter.grad = torch.empty_like(parameter)
        for attention in optimizer.attention.values():
            attention.max_logits = torch.empty(TINY.num_attention_heads, device="meta")
        optimizer.step()
    assert len(optimizer.clip_report) == TINY.num_hidden_layers


class Waits(TorchFunctionMode):
    """Counts what asks a tensor for its numbers."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        names = ("__bool__", "__float__", "__int__", "__index__", "item", "tolist", "cpu", "numpy", "nonzero")
        self.count += getattr(function, "__name__", "") in names
        return function(*args, **(kwargs or {}))


def test_a_step_waits_once_for_the_device_the_clip_included(model):
    optimizer = MuonClip.for_model(model, lr=RATE, tau=1e-3)
    backward(model, batch())
    with Waits() as waits:
        optimizer.step()
    assert waits.count == 1 and optimizer.qk_clip.heads_ever_clipped > 0

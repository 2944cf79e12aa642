"""What training scripts do with an optimizer: scale gradients, accumulate them, compile, tie, freeze, name nothing."""

import copy

import pytest
import torch
from torch import nn

from k2lib import K2Model
from k2lib.model import parity
from k2lib.optim import MuonClip

TINY = parity.cases()["K2"]
PAIRS = torch.randint(0, TINY.vocab_size, (2, 4, 16), generator=torch.Generator().manual_seed(0))


def start(**how) -> tuple[K2Model, MuonClip]:
    torch.manual_seed(0)
    model = K2Model(TINY).train()
    return model, MuonClip.for_model(model, **{"lr": 0.02, "tau": 0.05, "ns_dtype": torch.float32} | how)


def test_a_grad_scaler_skips_an_overflow_and_otherwise_changes_nothing():
    plain, scaled = start(), start()
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for number in range(3):
        for model, optimizer in (plain, scaled):
            loss = model.loss(*PAIRS)
            if optimizer is plain[1]:
                if number != 1:
                    loss.backward()
                    optimizer.step()
            else:
                scaler.scale(loss).backward()
                if number == 1:
                    next(p for p in model.parameters() if p.grad is not None).grad.view(-1)[0] = torch.inf
                scaler.step(optimizer)
                scaler.update()
            optimizer.zero_grad()
    assert scaler.get_scale() == 512.0
    for a, b in zip(plain[0].parameters(), scaled[0].parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_accumulated_micro_batches_are_one_batch_and_their_largest_maxima_count():
    whole, parts = start(), start()
    whole[0].loss(*PAIRS).backward()
    for row in range(4):
        (parts[0].loss(*PAIRS[:, row : row + 1]) / 4).backward()
    for _, optimizer in (whole, parts):
        optimizer.step()
    for a, b in zip(whole[0].parameters(), parts[0].parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)
    for name, report in whole[1].clip_report.items():
        torch.testing.assert_close(report.max_logits, parts[1].clip_report[name].max_logits)


@pytest.mark.slow
def test_a_compiled_model_is_clipped_alike():
    plain, compiled = start(), start()
    compiled[0].loss = torch.compile(compiled[0].loss, backend="aot_eager")
    for model, optimizer in (plain, compiled):
        for _ in range(2):
            model.loss(*PAIRS).backward()
            optimizer.step()
            optimizer.zero_grad()
    assert plain[1].qk_clip.heads_ever_clipped == compiled[1].qk_clip.heads_ever_clipped > 0
    for a, b in zip(plain[0].parameters(), compiled[0].parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


def test_tied_weights_are_optimised_once_and_as_an_embedding():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.inner, self.head = nn.Embedding(40, 8), nn.Linear(8, 8), nn.Linear(8, 40, bias=False)
            self.head.weight = self.tokens.weight

    optimizer = MuonClip.for_model(Tied(), lr=0.1, tau=None)
    names = [name for group in optimizer.param_groups for name in group["param_names"]]
    assert sorted(names) == ["inner.bias", "inner.weight", "tokens.weight"]
    (adamw,) = [group for group in optimizer.param_groups if "tokens.weight" in group["param_names"]]
    assert adamw["algorithm"] == "adamw"


def test_frozen_weights_stay_where_no_head_passes_tau():
    model, _ = start()
    model.layers[0].self_attn.q_b_proj.weight.requires_grad_(False)
    optimizer = MuonClip.for_model(model, lr=0.02, tau=1e9)
    before = model.layers[0].self_attn.q_b_proj.weight.clone()
    model.loss(*PAIRS).backward()
    optimizer.step()
    assert torch.equal(before, model.layers[0].self_attn.q_b_proj.weight)


def test_parameters_without_names_are_told_by_their_shape():
    weight = nn.Parameter(torch.ones(4, 3))
    optimizer = MuonClip([weight], lr=0.1)
    weight.grad = torch.full((4, 3), torch.nan)
    with pytest.raises(FloatingPointError, match=r"the parameter of shape \(4, 3\)"):
        optimizer.step()


def test_every_scheduler_of_torch_moves_both_algorithms():
    model, optimizer = start()
    scheduler = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=2),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4),
        ],
        milestones=[2],
    )
    seen = []
    for _ in range(4):
        model.loss(*PAIRS).backward()
        optimizer.step()
        optimizer.zero_grad()
        seen.append({group["lr"] for group in optimizer.param_groups})
        scheduler.step()
    assert all(len(rates) == 1 for rates in seen) and len(set.union(*seen)) == 4
    again = MuonClip.for_model(copy.deepcopy(model), lr=0.5)
    again.load_state_dict(optimizer.state_dict())
    assert {g["lr"] for g in again.param_groups} == {g["lr"] for g in optimizer.param_groups}

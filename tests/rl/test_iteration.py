"""Several updates against a fixed sampling policy: where the objective pulls, what is measured, and when."""

import copy
import dataclasses
import itertools

import pytest
import torch
from letters import Letters

from k2lib.gym.outcome import Outcome
from k2lib.gym.play import play
from k2lib.optim import MuonClip
from k2lib.profiles import SMOKE
from k2lib.rl.iteration import away, improve, pairs, parts, slope, told


@pytest.fixture
def groups(model, tiny_tokenizer, monkeypatch):
    """Of two problems, four answers each, the first of which is right."""
    monkeypatch.setenv("K2_DTYPE", "float32")
    played = play(model, tiny_tokenizer, [Letters("a"), Letters("b")], samples=4, temperature=1.0)
    for group in played:
        for number, one in enumerate(group):
            one.truncated, one.outcome = False, Outcome("pass" if number == 0 else "fail", float(number == 0))
    return played


def trained(model, tokenizer, groups, lr=3e-3, optimizer=None, **changes):
    size = dataclasses.replace(SMOKE.rl, **changes)
    optimizer = optimizer or MuonClip.for_model(model, lr=lr)
    seen, _ = improve(model, optimizer, groups, size, lr, tokenizer.pad_id, itertools.repeat(None), 0)
    return seen


def test_the_log_ratio_is_zero_at_the_first_update_and_of_the_targets_sign_later(model, tiny_tokenizer, groups):
    plain = torch.optim.SGD(model.parameters(), lr=1e-3)  # small steps along the gradient itself
    seen = trained(model, tiny_tokenizer, groups, lr=1e-3, optimizer=plain, epochs=8, tau=0.5)
    assert seen[0].ratio.abs().max() < 1e-3 and seen[0].apart.max() < 1e-4
    target, ratio = torch.tensor(pairs(seen, 1)).T
    assert torch.equal(ratio.sign(), target.sign()) and slope(target, ratio) > 0.01


def test_the_pull_ends_where_the_log_ratio_is_the_advantage_over_tau(model, tiny_tokenizer, groups):
    """A large τ asks for little: the ratios arrive and stay; without the pull, a tiny τ, they run on."""
    reached = {}
    for tau in (2.0, 0.01):
        twin = copy.deepcopy(model)
        seen = trained(twin, tiny_tokenizer, groups, lr=1e-3, epochs=60, tau=tau)
        reached[tau] = told(groups, seen, SMOKE.rl)
    assert reached[2.0]["pull"] == pytest.approx(1, abs=0.3)
    assert reached[0.01]["drift"] > 5 * reached[2.0]["drift"]


def test_every_episode_is_in_one_update_of_each_pass(model, tiny_tokenizer, groups):
    seen = trained(model, tiny_tokenizer, groups, epochs=3, minibatches=2)
    assert [len(one.ratio) for one in seen] == [4] * 6
    assert len(pairs(seen, 2)) == 8


def test_parts_are_even_and_none_is_empty():
    assert parts([1, 2, 3, 4, 5], 2) == [[1, 2], [3, 4, 5]]
    assert parts([1, 2], 4) == [[1], [2]]


def test_what_an_iteration_tells(model, tiny_tokenizer, groups):
    groups[1][2].outcome = Outcome("void", 0.0, "the server is gone")
    groups[1][3].truncated = True
    seen = trained(model, tiny_tokenizer, groups, minibatches=1)
    found = told(groups, seen, SMOKE.rl)
    assert (found["void"], found["cut"], found["success"]) == (1, 1 / 8, pytest.approx(2 / 7))
    assert found["reward"] == pytest.approx((2 - 0.5) / 7)
    uniform = torch.tensor(float(tiny_tokenizer.vocab_size)).log().item()
    assert 0 < found["entropy"] <= uniform


def test_the_entropy_is_that_of_the_policy(model, tiny_tokenizer, groups):
    with torch.no_grad():
        model.lm_head.weight.zero_()  # every token as likely as any other
    seen = trained(model, tiny_tokenizer, groups, lr=0.0)
    assert seen[0].entropy.mean().item() == pytest.approx(torch.tensor(float(tiny_tokenizer.vocab_size)).log().item())


def test_how_far_the_policy_is_away_from_its_start(model, tiny_tokenizer, groups):
    start = copy.deepcopy(model)
    assert abs(away(start, groups, tiny_tokenizer.pad_id)) < 1e-4
    with torch.no_grad():
        model.lm_head.weight.mul_(3)
    sampled = play(model, tiny_tokenizer, [Letters("a")], samples=8, temperature=1.0)
    assert away(start, sampled, tiny_tokenizer.pad_id) > 0.01

"""The objectives that K2's is compared with, each against its formula written out in fp64."""

import math

import pytest
import torch

from k2lib.rl.objective import CLIP, OBJECTIVES, TINY, Scored

LENGTHS = (3, 1, 4, 2, 5, 2)  # tokens of six episodes: two problems, three each


def scored(seed=0, moved=0.3, void=None):
    g = torch.Generator().manual_seed(seed)
    n = sum(LENGTHS)
    old = -torch.rand(n, dtype=torch.float64, generator=g)
    logp = (old + moved * torch.randn(n, dtype=torch.float64, generator=g)).requires_grad_()
    rewards = torch.tensor([[1.0, 0.0, -0.5], [0.0, 1.0, 1.0]], dtype=torch.float64)
    valid = torch.ones(2, 3, dtype=torch.bool)
    if void is not None:
        valid.view(-1)[void], rewards.view(-1)[void] = False, 0.0
    whose = torch.tensor([e for e, length in enumerate(LENGTHS) for _ in range(length)])
    return Scored(logp, old, whose, rewards, valid)


def tokens(one, episode):
    return [t for t in range(len(one.whose)) if one.whose[t] == episode]


def plain(name, one):
    """The loss by its formula, token by token."""
    total = 0.0
    for x in range(2):
        known = [i for i in range(3) if one.valid[x, i]]
        rewards = [one.rewards[x, i].item() for i in known]
        mean = sum(rewards) / len(rewards)
        deviation = math.sqrt(sum((r - mean) ** 2 for r in rewards) / (len(rewards) - 1))
        for i, r in zip(known, rewards, strict=True):
            mine = tokens(one, 3 * x + i)
            logp = [one.logp[t].item() for t in mine]
            old = [one.old[t].item() for t in mine]
            if name == "reinforce":
                total -= (r - mean) * sum(logp)
            elif name == "rejection":
                total -= (r >= 1) * sum(logp) / len(mine)
            else:
                advantage = (r - mean) / (deviation + TINY)
                ratios = [math.exp(a - b) for a, b in zip(logp, old, strict=True)]
                kept = [min(max(q, 1 - CLIP), 1 + CLIP) for q in ratios]
                total -= sum(min(q * advantage, k * advantage) for q, k in zip(ratios, kept, strict=True)) / len(mine)
    return total / 6


@pytest.mark.parametrize("name", ["reinforce", "grpo", "rejection"])
@pytest.mark.parametrize("void", [None, 1, 4])
def test_an_objective_is_its_formula(name, void):
    for seed in range(5):
        one = scored(seed, void=void)
        assert OBJECTIVES[name](one, 0.1).item() == pytest.approx(plain(name, one), rel=1e-9)


def gradient(name, one, tau=0.1):
    return torch.autograd.grad(OBJECTIVES[name](one, tau), one.logp)[0]


def test_at_the_sampling_policy_k2_and_reinforce_have_one_gradient_and_grpos_goes_the_same_way():
    one = scored(moved=0.0)
    torch.testing.assert_close(gradient("k2", one), gradient("reinforce", one))
    up = -gradient("grpo", one)
    assert torch.equal(up.sign(), one.advantages().flatten()[one.whose].sign())


def test_what_k2_pulls_back_grpo_clips():
    """Far past its target an answer is pulled back by K2; GRPO stops pushing; REINFORCE pushes on."""
    one = scored(moved=0.0)
    far = one.logp.detach().clone()
    far[one.whose == 0] += 8.0  # the rewarded one of the first problem, likelier by e^24
    moved = Scored(far.requires_grad_(), one.old, one.whose, one.rewards, one.valid)
    first = tokens(one, 0)
    assert (gradient("k2", moved, tau=0.1)[first] > 0).all()  # down again
    assert (gradient("grpo", moved)[first] == 0).all()
    assert (gradient("reinforce", moved)[first] < 0).all()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_void_episode_has_no_gradient(name):
    one = scored(void=2)
    assert (gradient(name, one)[tokens(one, 2)] == 0).all() and gradient(name, one).abs().sum() > 0

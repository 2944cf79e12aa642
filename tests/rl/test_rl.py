"""The K2 objective against its closed form, rewards, rollouts and the trainer."""

import copy
import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from k2lib import K2Config, K2Model
from k2lib.llm import chat
from k2lib.profiles import SMOKE
from k2lib.rl import k2_policy_loss
from k2lib.rl.problems import Problem, verifiable
from k2lib.rl.rollout import OVERLONG, rollout
from k2lib.rl.trainer import set_aside, temperature_at, train_rl, update


@settings(max_examples=20, deadline=None)
@given(b=st.integers(1, 4), k=st.integers(1, 6), tau=st.floats(0.01, 3), seed=st.integers(0, 99))
def test_loss_and_gradient_are_the_papers(b, k, tau, seed):
    g = torch.Generator().manual_seed(seed)
    logp, old, rewards = (torch.randn(b, k, dtype=torch.float64, generator=g) for _ in range(3))
    logp.requires_grad_()
    loss = k2_policy_loss(logp, old, rewards, tau)
    expected = (
        sum(
            sum((rewards[x, i] - rewards[x].mean() - tau * (logp[x, i] - old[x, i])) ** 2 for i in range(k)) / k
            for x in range(b)
        )
        / b
    )
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, logp)
    advantage = rewards - rewards.mean(1, keepdim=True)
    closed = -2 * tau / (b * k) * (advantage - tau * (logp - old).detach())
    torch.testing.assert_close(gradient, closed)


def test_the_minimum_is_at_advantage_over_tau():
    rewards = torch.tensor([[1.0, 0.0]])
    assert k2_policy_loss(torch.tensor([[5.0, -5.0]]), torch.zeros(1, 2), rewards, tau=0.1).item() == pytest.approx(
        0.0, abs=1e-9
    )


def test_unknown_rewards_leave_mean_and_loss():
    logp, old = torch.tensor([[0.3, 0.1, 9.0]]), torch.zeros(1, 3)
    rewards = torch.tensor([[1.0, 0.0, float("nan")]])
    part = k2_policy_loss(logp, old, rewards, 0.5, torch.tensor([[True, True, False]]))
    assert part.item() == pytest.approx(k2_policy_loss(logp[:, :2], old[:, :2], rewards[:, :2], 0.5).item())


def test_wrong_input_is_refused():
    good = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"must all be \[B, K\]"):
        k2_policy_loss(good, good[:1], good, 0.1)
    with pytest.raises(ValueError, match="tau is 0"):
        k2_policy_loss(good, good, good, 0)
    with pytest.raises(ValueError, match="rewards holds a value"):
        k2_policy_loss(good, good, good / 0, 0.1)


def test_rewards_know_right_from_wrong():
    maths, tool = verifiable(2, 0)
    answer = maths.reward.problem.answer
    assert maths.reward(chat.parse(f"so Answer: {answer}")) == 1.0
    assert maths.reward(chat.parse(f"{answer} but no: {int(answer) + 1}")) == 0.0
    assert tool.reward(chat.parse("I will not.")) == 0.0
    assert {p.kind for p in verifiable(20, 0)} == {"mathematics", "tool use"}
    assert not {str(p.messages) for p in verifiable(60, 0)} & {str(p.messages) for p in verifiable(60, 0, "heldout")}


def test_the_temperature_decays_from_end_to_end():
    assert [temperature_at(s, 3, (1.0, 0.6)) for s in range(3)] == pytest.approx([1.0, 0.8, 0.6])


@pytest.fixture
def model(tiny_tokenizer):
    torch.manual_seed(0)
    return K2Model(
        K2Config.preset("nano").replace(
            **SMOKE.model | {"vocab_size": tiny_tokenizer.vocab_size, "num_hidden_layers": 2}
        )
    )


def letters(tokenizer, wanted: str) -> Problem:
    """A problem whose answer must begin with a given letter: learnable from nothing."""
    return Problem(
        "mathematics",
        [{"role": "user", "content": f"say {wanted}"}],
        [],
        lambda turn: float(turn.message["content"].strip().startswith(wanted)),
    )


def test_samples_are_whole_and_overlong_answers_are_penalised(model, tiny_tokenizer):
    problem = letters(tiny_tokenizer, "a")
    group = rollout(model, tiny_tokenizer, [problem, problem], samples=3, temperature=1.0, seed=0)[1]
    for s in group:
        assert len(s.mask) == len(s.ids) == len(s.prompt) + len(s.answer)
        assert len(s.logprobs) == len(s.answer) <= problem.budget
        assert s.answer[-1] in (tiny_tokenizer.encode_control(chat.END), tiny_tokenizer.eos_id) or s.reward == OVERLONG


def test_an_update_raises_the_probability_of_what_was_rewarded(model, tiny_tokenizer):
    problem = letters(tiny_tokenizer, "a")
    group = rollout(model, tiny_tokenizer, [problem], samples=4, temperature=1.0, seed=0)[0]
    group = [dataclasses.replace(s, reward=float(i == 0)) for i, s in enumerate(group)]

    def logp(s):
        with torch.no_grad():
            return model.token_logprobs(torch.tensor([s.ids]))[0, len(s.prompt) - 1 :].sum().item()

    before = [logp(s) for s in group]
    from k2lib.optim import MuonClip

    update(model, MuonClip.for_model(model, lr=2e-3), [group], SMOKE.rl, tiny_tokenizer.pad_id, None)
    after = [logp(s) for s in group]
    assert after[0] - before[0] > max(a - b for a, b in zip(after[1:], before[1:], strict=True))


def test_an_update_in_pieces_is_the_update_of_the_whole(model, tiny_tokenizer, monkeypatch):
    monkeypatch.setenv("K2_DTYPE", "float32")
    problems = [letters(tiny_tokenizer, letter * n) for n, letter in enumerate("abcde", start=1)]
    groups = rollout(model, tiny_tokenizer, problems, samples=3, temperature=1.0, seed=0)
    groups = [[dataclasses.replace(s, reward=float(i == n % 3)) for i, s in enumerate(g)] for n, g in enumerate(groups)]
    results = {}
    for piece in (2, 5):
        monkeypatch.setattr("k2lib.rl.trainer.PIECE", piece)
        twin = copy.deepcopy(model)
        plain = torch.optim.SGD(twin.parameters(), lr=1.0)
        loss = update(twin, plain, groups, SMOKE.rl, tiny_tokenizer.pad_id, None)
        results[piece] = (loss, torch.cat([p.detach().flatten() for p in twin.parameters()]))
    assert results[2][0] == pytest.approx(results[5][0], rel=1e-4)
    torch.testing.assert_close(results[2][1], results[5][1], atol=1e-5, rtol=1e-4)


def test_samplings_logprobs_are_those_that_training_computes(model, tiny_tokenizer):
    sample = rollout(model, tiny_tokenizer, [letters(tiny_tokenizer, "a")], samples=2, temperature=0.8, seed=0)[0][1]
    with torch.no_grad():
        again = model.token_logprobs(torch.tensor([sample.ids]))[0, len(sample.prompt) - 1 :]
    torch.testing.assert_close(again, torch.tensor(sample.logprobs), atol=1e-4, rtol=1e-3)


def test_the_best_model_on_the_development_split_is_returned(model, tiny_tokenizer, monkeypatch):
    rates = iter([0.25, 0.5, 0.125, 0.375])  # before any step, and after each of three

    def attempts(found, _tokenizer, problems, samples, _temperature):
        seen.append([p.clone() for p in found.parameters()])
        return [next(rates) if samples == 2 else 0.0 for _ in problems]

    seen: list[list[torch.Tensor]] = []
    monkeypatch.setattr("k2lib.rl.trainer.attempts", attempts)
    problems = [letters(tiny_tokenizer, letter) for letter in "abcdef"]
    size = dataclasses.replace(SMOKE.rl, steps=3, prompts=2, samples=2, lr=1e-2, development=1, check_every=1)
    result = train_rl(model, tiny_tokenizer, problems, [], None, size)
    assert (result.development, result.kept) == ([(0, 0.25), (1, 0.5), (2, 0.125), (3, 0.375)], 1)
    assert all(map(torch.equal, model.parameters(), seen[3]))  # held out twice, before any step, after the first
    assert not any(torch.equal(a, b) for a, b in zip(seen[3], seen[4], strict=True) if a.ndim == 2)


def test_the_development_split_is_not_trained_on(tiny_tokenizer):
    problems = [letters(tiny_tokenizer, letter) for letter in "abcab"]
    development, rest = set_aside(problems, 2)
    assert [p.messages[0]["content"] for p in development + rest] == ["say a", "say b", "say c"]


@pytest.mark.slow
def test_training_raises_success_on_a_learnable_problem(model, tiny_tokenizer):
    problems = [letters(tiny_tokenizer, "a")] * 8
    for p in model.parameters():
        p.requires_grad_()
    size = dataclasses.replace(
        SMOKE.rl, steps=25, prompts=4, samples=8, lr=5e-3, temperature=(1.0, 1.0), development=0, check_every=99
    )
    patched = [dataclasses.replace(p, reward=lambda turn: float("a" in turn.message["content"][:40])) for p in problems]
    result = train_rl(model, tiny_tokenizer, patched, patched[:2], None, size)
    first, last = (sum(h["success"] for h in part) / 5 for part in (result.history[:5], result.history[-5:]))
    assert last > first
    assert len(result.before.greedy) == len(result.after.sampled) == 2

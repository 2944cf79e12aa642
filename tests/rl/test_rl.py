"""The K2 objective against its closed form, its gradients on episodes, and the trainer."""

import copy
import dataclasses
import importlib
import itertools
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from letters import Letters

from k2lib import stages
from k2lib.agents import tasks
from k2lib.corpus.split import side
from k2lib.gym.outcome import Outcome
from k2lib.gym.play import Played, play
from k2lib.llm import chat
from k2lib.llm.local import Turn
from k2lib.model.moe import routers
from k2lib.optim import MuonClip
from k2lib.profiles import SMOKE
from k2lib.rl import k2_policy_loss
from k2lib.rl.objective import per_episode
from k2lib.rl.policy import OVERLONG, policy_gradients, reward
from k2lib.rl.reading import Reading
from k2lib.rl.rollout import collect
from k2lib.rl.trainer import DEVELOPMENT_ATTEMPTS, Success, set_aside, temperature_at, train_rl
from k2lib.train import Snapshot
from k2lib.train.finetune import batches
from k2lib.train.step import update


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


def test_the_temperature_decays_from_end_to_end():
    assert [temperature_at(s, 3, (1.0, 0.6)) for s in range(3)] == pytest.approx([1.0, 0.8, 0.6])


def rewarded(played: Played, value: float) -> Played:
    """The episode with a reward of our choice."""
    made = dataclasses.replace(played, truncated=False)
    made.outcome = Outcome("pass" if value == 1 else "fail", value)
    return made


def groups_of(model, tokenizer, problems, samples: int) -> list[list[Played]]:
    return play(model, tokenizer, problems, samples=samples, temperature=1.0)


def test_an_episode_that_was_cut_is_penalised_and_never_solved(model, tiny_tokenizer):
    for one in groups_of(model, tiny_tokenizer, [Letters("a")] * 2, 3)[1]:
        ended = one.ids[-1] in (tiny_tokenizer.encode_control(chat.END), tiny_tokenizer.eos_id)
        assert one.truncated != ended and (reward(one) == OVERLONG) == one.truncated
        assert not (one.truncated and one.solved)


def test_an_update_raises_the_probability_of_what_was_rewarded(model, tiny_tokenizer):
    (group,) = groups_of(model, tiny_tokenizer, [Letters("a")], 4)
    group = [rewarded(one, float(i == 0)) for i, one in enumerate(group)]

    def logp(one):
        with torch.no_grad():
            return (model.token_logprobs(torch.tensor([one.ids]))[0] * torch.tensor(one.mask[1:])).sum().item()

    before = [logp(one) for one in group]
    policy_gradients(model, [group], SMOKE.rl, tiny_tokenizer.pad_id, None)
    update(model, MuonClip.for_model(model, lr=2e-3), 2e-3)
    after = [logp(one) for one in group]
    assert after[0] - before[0] > max(a - b for a, b in zip(after[1:], before[1:], strict=True))


def test_what_is_trained_is_the_probability_of_what_was_sampled_to_the_last_token(model, tiny_tokenizer, monkeypatch):
    """Rows of different length: the last token of a shorter one, the end of its turn, is not the padding after it."""
    monkeypatch.setenv("K2_DTYPE", "float32")
    with torch.no_grad():
        model.lm_head.weight[tiny_tokenizer.encode_control(chat.END)] *= 3  # turns end, some early
    groups = groups_of(model, tiny_tokenizer, [Letters("a"), Letters("abcdefgh" * 9)], 6)
    episodes = [one for group in groups for one in group]
    assert len({len(one.ids) for one in episodes}) > 2 and any(not one.truncated for one in episodes)
    with torch.no_grad():
        read = Reading.of(model, episodes, tiny_tokenizer.pad_id)
    torch.testing.assert_close(
        read.logp, torch.tensor([p for one in episodes for p in one.logprobs]), atol=1e-3, rtol=1e-4
    )
    sums = per_episode(read.old, read.whose, len(episodes))
    torch.testing.assert_close(sums, torch.tensor([sum(one.logprobs) for one in episodes]))


def test_a_prompt_that_is_read_once_gives_the_gradients_of_reading_it_for_each_episode(
    model, tiny_tokenizer, monkeypatch
):
    monkeypatch.setenv("K2_DTYPE", "float32")
    groups = groups_of(model, tiny_tokenizer, [Letters("a"), Letters("abcdefgh" * 5), Letters("bc")], 3)
    episodes = [one for group in groups for one in group]
    model.eval()
    Reading.of(model, episodes, tiny_tokenizer.pad_id).logp.sin().sum().backward()
    shared, read = gradients(model), []
    model.zero_grad()
    for one in episodes:
        read.append(model.token_logprobs(torch.tensor([one.ids]), torch.tensor([one.mask[1:]]))[0][one.mask[1:]])
    torch.cat(read).sin().sum().backward()
    torch.testing.assert_close(shared, gradients(model), atol=1e-4, rtol=1e-3)


def test_the_routers_biases_move_and_no_count_is_left(model, tiny_tokenizer):
    before = [router.e_score_correction_bias.clone() for router in routers(model)]
    groups = groups_of(model, tiny_tokenizer, [Letters("a")], 2)
    policy_gradients(model.train(), groups, SMOKE.rl, tiny_tokenizer.pad_id, None)
    assert update(model, torch.optim.SGD(model.parameters(), lr=0.0), 0.0).violation > 0
    assert not any(map(torch.equal, before, (router.e_score_correction_bias for router in routers(model))))
    assert all(router.load.sum() == 0 for router in routers(model))


def test_the_gradients_in_pieces_are_those_of_the_whole(model, tiny_tokenizer, monkeypatch):
    monkeypatch.setenv("K2_DTYPE", "float32")
    problems = [Letters(letter * n) for n, letter in enumerate("abcde", start=1)]
    groups = groups_of(model, tiny_tokenizer, problems, 3)
    groups = [[rewarded(one, float(i == n % 3)) for i, one in enumerate(g)] for n, g in enumerate(groups)]
    results = {}
    for piece in (2, 5):
        monkeypatch.setattr("k2lib.rl.policy.PIECE", piece)
        twin = copy.deepcopy(model)
        loss = policy_gradients(twin, groups, SMOKE.rl, tiny_tokenizer.pad_id, None).loss
        results[piece] = (loss, torch.cat([p.grad.flatten() for p in twin.parameters() if p.grad is not None]))
    assert results[2][0] == pytest.approx(results[5][0], rel=1e-4)
    torch.testing.assert_close(results[2][1], results[5][1], atol=1e-5, rtol=1e-4)


def gradients(model) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def test_equal_rewards_leave_the_gradient_of_ptx_alone(model, tiny_tokenizer, monkeypatch):
    monkeypatch.setenv("K2_DTYPE", "float32")
    (group,) = groups_of(model, tiny_tokenizer, [Letters("a")], 3)
    group = [rewarded(one, 1.0) for one in group]
    row = next(batches([([1, 5, 7, 9], [False, True, True, True])], 1, 3, 0, 0)(0))
    policy_gradients(model, [group], SMOKE.rl, tiny_tokenizer.pad_id, row)
    with_ptx = gradients(model)
    model.zero_grad()
    (SMOKE.rl.ptx_weight * model.loss(*row)).backward()
    torch.testing.assert_close(with_ptx, gradients(model), atol=2e-5, rtol=1e-4)  # the decoder rounds otherwise
    assert with_ptx.norm() > 0


def test_the_first_gradient_does_not_depend_on_tau(model, tiny_tokenizer, monkeypatch):
    monkeypatch.setenv("K2_DTYPE", "float32")
    (group,) = groups_of(model, tiny_tokenizer, [Letters("a")], 3)
    group, found = [rewarded(one, float(i == 0)) for i, one in enumerate(group)], []
    for tau in (0.05, 0.8):
        model.zero_grad()
        policy_gradients(model, [group], dataclasses.replace(SMOKE.rl, tau=tau), tiny_tokenizer.pad_id, None)
        found.append(gradients(model))
    torch.testing.assert_close(*found, atol=2e-5, rtol=1e-3)  # the decoder rounds otherwise


def test_problems_that_are_always_or_never_solved_are_not_trained_on(model, tiny_tokenizer, monkeypatch):
    monkeypatch.setattr("k2lib.rl.trainer.success_rates", lambda groups: [0.0, 0.5, 1.0, 0.25][: len(groups)])
    trained = []

    def listening(*given, **how):
        done, waiting = collect(*given, **how)
        trained.append(sorted(group.episodes[0].problem.wanted for group in done))
        return done, waiting

    monkeypatch.setattr("k2lib.rl.trainer.collect", listening)
    size = dataclasses.replace(SMOKE.rl, steps=3, prompts=2, samples=2, development=0, check_every=99)
    result = train_rl(model, tiny_tokenizer, [Letters(letter) for letter in "abcd"], [], None, size)
    assert (result.moderate, trained) == (2, [["b", "d"]] * 3)


def test_held_out_success_is_measured_again_after_training(model, tiny_tokenizer, monkeypatch):
    found = iter([Success([0.0], [0.0]), Success([1.0], [0.5])])
    monkeypatch.setattr("k2lib.rl.trainer.evaluate", lambda *_: next(found))
    size = dataclasses.replace(SMOKE.rl, steps=1, prompts=1, samples=2, development=0, check_every=99)
    result = train_rl(model, tiny_tokenizer, [Letters("a")], [Letters("b")], None, size)
    assert (result.before, result.after) == (Success([0.0], [0.0]), Success([1.0], [0.5]))


class Stop(Exception):
    pass


@pytest.mark.parametrize("judged_on", ["development", "test"])
def test_the_stage_trains_on_training_problems_and_is_judged_on_the_profiles_split(monkeypatch, tmp_path, judged_on):
    module, given = importlib.import_module("k2lib.stages.rl"), {}

    def caught(model, tokenizer, problems, heldout, *_, **__):
        given.update(train=problems, **{judged_on: heldout})
        raise Stop

    start = SimpleNamespace(model=None, tokenizer=SimpleNamespace(pad_id=0), dir=tmp_path / "sft" / "model")
    monkeypatch.setattr(module.finetune, "batches", lambda *_: None)
    monkeypatch.setattr(module, "sft", lambda _profile, _seed, run, _progress: start if run == 2 else None)
    monkeypatch.setattr(module, "sft_data", lambda *_: SimpleNamespace(rows=[]))
    monkeypatch.setattr(module, "stage", lambda _name, _key, make: make(tmp_path))
    monkeypatch.setattr(module, "train_rl", caught)
    with pytest.raises(Stop):
        stages.rl(dataclasses.replace(SMOKE, judged_on=judged_on), run=2)
    for split, problems in given.items():
        sums = [p.problem for p in problems if p.kind == "mathematics"]
        tools = [p.task.application for p in problems if p.kind == "tool use"]
        assert len(sums) > 20 and all(problem.is_of(split) for problem in sums)
        seen = tasks.applications(0, SMOKE.agentic.per_domain, categories=SMOKE.agentic.categories)
        new = [app for app in tools if app not in seen]
        assert len(tools) > 20 and all(side("tools", sorted(app.tools)) == split for app in new)


def test_the_best_model_on_the_development_split_is_returned(model, tiny_tokenizer, monkeypatch):
    rates = iter([0.25, 0.5, 0.125, 0.375])  # before any step, and after each of three

    def attempts(found, _tokenizer, problems, samples, _temperature):
        seen.append([p.clone() for p in found.parameters()])
        return [next(rates) if samples == DEVELOPMENT_ATTEMPTS else 0.0 for _ in problems]

    seen: list[list[torch.Tensor]] = []
    monkeypatch.setattr("k2lib.rl.trainer.attempts", attempts)
    problems = [Letters(letter) for letter in "abcdef"]
    size = dataclasses.replace(SMOKE.rl, steps=3, prompts=2, samples=2, lr=1e-2, development=1, check_every=1)
    result = train_rl(model, tiny_tokenizer, problems, [], None, size)
    assert (result.development, result.kept) == ([(0, 0.25), (1, 0.5), (2, 0.125), (3, 0.375)], 1)
    assert all(map(torch.equal, model.parameters(), seen[3]))  # held out twice, before any step, after the first
    assert not any(torch.equal(a, b) for a, b in zip(seen[3], seen[4], strict=True) if a.ndim == 2)


VARIANTS = [
    {},
    {"epochs": 2, "minibatches": 2, "sampling": "prioritised", "allowance": 9},
    {"reset": True, "sampling": "curriculum", "tau": 1.0},
]


@pytest.mark.parametrize("changes", VARIANTS)
def test_a_killed_run_continues_to_the_same_weights_and_record(model, tiny_tokenizer, tmp_path, monkeypatch, changes):
    monkeypatch.setenv("K2_DTYPE", "float32")
    problems = [Letters(letter, anywhere=True) for letter in "abcdefgh"]
    size = dataclasses.replace(SMOKE.rl, steps=4, prompts=2, samples=2, lr=1e-2, development=2, check_every=2)
    size = dataclasses.replace(size, **changes)

    def killed_after(steps):
        def progress(items, description, _total):
            yield from itertools.islice(items, steps if description.startswith("RL") else None)

        return progress

    def run(snapshot=None, steps=None):
        twin, ptx = copy.deepcopy(model), batches([([1, 5 + i, 7], [False, True, True]) for i in range(8)], 2, 2, 0, 0)
        how = {"snapshot": snapshot, "progress": killed_after(steps)}
        return twin, train_rl(twin, tiny_tokenizer, problems, problems[:1], ptx, size, **how)

    snapshot = Snapshot(tmp_path / "rl.pt", every_seconds=0.0)
    whole, expected = run()
    run(snapshot, steps=3)
    resumed, result = run(snapshot)
    assert result == expected and len(result.history) == 4
    assert all(map(torch.equal, whole.state_dict().values(), resumed.state_dict().values()))


def test_training_stops_when_the_development_split_has_not_improved_for_long(model, tiny_tokenizer, monkeypatch):
    rates = iter([0.25, 0.5, 0.5, 0.375, 1.0])

    def attempts(_model, _tokenizer, problems, samples, _temperature):
        return [next(rates) if samples == DEVELOPMENT_ATTEMPTS else 0.0 for _ in problems]

    monkeypatch.setattr("k2lib.rl.trainer.attempts", attempts)
    size = dataclasses.replace(SMOKE.rl, steps=9, prompts=2, samples=2, development=1, check_every=1, patience=2)
    result = train_rl(model, tiny_tokenizer, [Letters(letter) for letter in "abcdef"], [], None, size)
    assert (result.kept, len(result.history), result.away[-1][0]) == (1, 3, 3)


class Broken(Letters):
    def right(self, answer: str) -> bool:
        raise ConnectionError("the judge is gone")


def test_a_check_that_always_fails_ends_training_and_says_why(model, tiny_tokenizer, monkeypatch):
    said = Turn([5], [-1.0], True, chat.Parsed({"role": "assistant", "content": "a"}))
    monkeypatch.setattr("k2lib.gym.play.sample_turns", lambda _model, _tokenizer, prompts, **_: [said] * len(prompts))
    size = dataclasses.replace(SMOKE.rl, steps=2, prompts=2, samples=2, development=0)
    with pytest.raises(RuntimeError, match=r"all 4 episodes of an iteration are void.*the judge is gone"):
        train_rl(model, tiny_tokenizer, [Broken("a"), Broken("b")], [], None, size)


def test_the_development_split_is_not_trained_on():
    problems = [Letters(letter) for letter in "abcab"]
    development, rest = set_aside(problems, 2)
    assert [p.messages[0]["content"] for p in development + rest] == ["say a", "say b", "say c"]


@pytest.mark.slow
def test_training_raises_success_on_a_learnable_problem(model, tiny_tokenizer):
    problems = [Letters("a", anywhere=True)] * 8
    size = dataclasses.replace(
        SMOKE.rl, steps=25, prompts=4, samples=8, lr=5e-3, temperature=(1.0, 1.0), development=0, check_every=99
    )
    result = train_rl(model, tiny_tokenizer, problems, problems[:2], None, size)
    first, last = (sum(h["success"] for h in part) / 5 for part in (result.history[:5], result.history[-5:]))
    assert last > first
    assert len(result.before.greedy) == len(result.after.sampled) == 2

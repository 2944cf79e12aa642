"""Partial rollouts: what pauses, goes on under newer weights, and is trained; and what fails without taking others along."""

import dataclasses

import pytest
import torch
from letters import Letters

from k2lib.agents import tasks
from k2lib.gym.outcome import Outcome, outcome
from k2lib.gym.play import Played, play, play_on
from k2lib.gym.replay import replayed, saved
from k2lib.gym.tool_use import ToolUse
from k2lib.llm import chat
from k2lib.rl.reading import Reading
from k2lib.rl.rollout import Group, collect


def started(tokenizer, problem, count=3):
    return [Played.start(problem, tokenizer) for _ in range(count)]


def test_an_allowance_pauses_an_episode_in_the_middle_of_its_turn(model, tiny_tokenizer):
    for one in (episodes := started(tiny_tokenizer, Letters("a"))):
        assert not one.over
    play_on(model, tiny_tokenizer, episodes, temperature=1.0, allowance=5)
    assert all(len(one.logprobs) <= 5 for one in episodes)
    paused = [one for one in episodes if not one.over]
    assert paused and all(len(one.unfinished) == sum(one.mask) == 5 and one.turns == 0 for one in paused)


def test_allowances_together_are_one_turn(model, tiny_tokenizer, monkeypatch):
    """Greedy, so that the same weights say the same, at once or in pieces; the budget is the turn's, not the piece's."""
    monkeypatch.setenv("K2_DTYPE", "float32")
    ((whole,),) = play(model, tiny_tokenizer, [Letters("a")])
    (one,) = started(tiny_tokenizer, Letters("a"), 1)
    for _ in range(30):
        play_on(model, tiny_tokenizer, [one], allowance=7)
    assert one.ids == whole.ids and one.outcome == whole.outcome and one.truncated == whole.truncated
    torch.testing.assert_close(torch.tensor(one.logprobs), torch.tensor(whole.logprobs), atol=1e-4, rtol=1e-3)


def test_only_what_the_present_weights_wrote_is_trained(model, tiny_tokenizer, monkeypatch):
    monkeypatch.setenv("K2_DTYPE", "float32")

    def begin(count):
        return [Group.start(0, Letters("a"), 3, tiny_tokenizer) for _ in range(count)]

    _, waiting = collect(model, tiny_tokenizer, [], begin, 1, temperature=1.0, seed=0, allowance=6)
    assert waiting
    written = [sum(one.mask) for one in waiting[0].episodes]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.05)  # newer weights
    done, rest = collect(model, tiny_tokenizer, waiting, begin, 1, temperature=1.0, seed=1, allowance=99)
    assert not rest
    episodes = done[0].episodes
    for one, before in zip(episodes, written, strict=True):
        assert sum(one.trained) == sum(one.mask) - before and one.trained.index(True) >= one.since
    read = Reading.of(model, episodes, tiny_tokenizer.pad_id)
    torch.testing.assert_close(read.logp.detach(), read.old, atol=1e-3, rtol=1e-3)  # of the newer weights alone
    assert len(read.old) == sum(sum(one.trained) for one in episodes)


def test_as_many_groups_are_under_way_as_wanted(model, tiny_tokenizer):
    begun = []

    def begin(count):
        begun.append(count)
        return [Group.start(0, Letters("a"), 2, tiny_tokenizer) for _ in range(count)]

    waiting = []
    for seed in range(6):
        done, waiting = collect(model, tiny_tokenizer, waiting, begin, 4, temperature=1.0, seed=seed, allowance=9)
        assert len(done) + len(waiting) == 4 and all(group.over and group.fresh for group in done)
    assert begun == [4, 0, 0, 4, 0, 0]  # 24 tokens are a turn: after three allowances all are over


def test_an_enforced_turn_is_not_paused(model, tiny_tokenizer):
    with pytest.raises(ValueError, match="cannot be paused"):
        play_on(model, tiny_tokenizer, [], allowance=3, enforced=True)


def test_an_episode_with_tools_comes_back_from_plain_values(model, tiny_tokenizer, monkeypatch):
    monkeypatch.setenv("K2_DTYPE", "float32")
    with torch.no_grad():
        model.lm_head.weight[tiny_tokenizer.encode_control(chat.END)] *= 3  # turns end
    problem = ToolUse(tasks.generate(1, 0)[0])
    episodes = started(tiny_tokenizer, problem, 6)
    play_on(model, tiny_tokenizer, episodes, temperature=1.0, allowance=60)
    assert any(one.turns for one in episodes) and any(one.unfinished for one in episodes)
    again = [replayed(problem, tiny_tokenizer, saved(one)) for one in episodes]
    assert [one.episode.messages for one in again] == [one.episode.messages for one in episodes]
    for group in (episodes, again):
        play_on(model, tiny_tokenizer, group, temperature=1.0, seed=5)
    assert [(one.ids, one.logprobs, one.outcome) for one in again] == [(o.ids, o.logprobs, o.outcome) for o in episodes]


class Fleeting:
    """An environment that answers otherwise every time, and can be told to fail."""

    answers, fails = iter(range(1000)), False

    def __init__(self):
        self.messages, self.tools, self.over = [{"role": "user", "content": "go"}], [], False

    def step(self, message, faults):
        if self.fails:
            raise ConnectionError("the server is gone")
        self.messages += [message, {"role": "user", "content": str(next(self.answers))}]

    def score(self):
        return 0.5


@dataclasses.dataclass(frozen=True)
class Fleeing:
    fails: bool = False
    kind, budget, plain, tools = "fleeing", 64, None, ()
    messages = ({"role": "user", "content": "go"},)

    def episode(self):
        made = Fleeting()
        made.fails = self.fails
        return made


def ends_turns(model, tokenizer):
    with torch.no_grad():
        model.lm_head.weight[tokenizer.encode_control(chat.END)] *= 4


def test_an_environment_that_does_not_repeat_itself_voids_its_episode(model, tiny_tokenizer):
    ends_turns(model, tiny_tokenizer)
    episodes = started(tiny_tokenizer, Fleeing(), 8)
    play_on(model, tiny_tokenizer, episodes, temperature=1.0, allowance=40)
    one = next(one for one in episodes if one.turns and not one.over)
    again = replayed(Fleeing(), tiny_tokenizer, saved(one))
    assert again.over and again.outcome == Outcome("void", 0.0, "its environment does not repeat itself")


def test_an_environment_that_fails_costs_its_own_episode_alone(model, tiny_tokenizer):
    ends_turns(model, tiny_tokenizer)
    groups = play(model, tiny_tokenizer, [Fleeing(fails=True), Letters("a")], samples=6, temperature=1.0)
    broken = [one for one in groups[0] if one.broken]
    assert broken and all(one.outcome == Outcome("void", 0.0, "ConnectionError: the server is gone") for one in broken)
    assert all(one.outcome.status in ("pass", "fail") for one in groups[1])


@pytest.mark.parametrize("score", [None, float("nan"), float("inf"), True, "1"])
def test_a_score_that_is_none_is_void(score):
    episode = Fleeting()
    episode.score = lambda: score
    assert outcome(episode).status == "void"


def test_a_check_that_raises_is_void_and_says_why():
    episode = Fleeting()
    episode.score = lambda: 1 / 0
    assert outcome(episode) == Outcome("void", 0.0, "ZeroDivisionError: division by zero")

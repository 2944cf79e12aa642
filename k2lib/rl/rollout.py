"""Rollouts of an iteration: K episodes of each problem, with a budget of tokens after which they pause (section 3.3).

Agentic episodes have a long tail: without a pause the shortest ones wait for the longest. What is unfinished goes on in the
next iteration under newer weights, and only what those wrote enters its loss (k1.5, section 2.6.2).
"""

from collections.abc import Callable
from dataclasses import dataclass

from k2lib.corpus.tokenizer import Tokenizer
from k2lib.gym.play import Played, play_on
from k2lib.gym.problem import Problem
from k2lib.gym.replay import replayed, saved
from k2lib.model import K2Model

Player = Callable[..., None]  # of (model, tokenizer, episodes, temperature=, seed=, allowance=)


@dataclass
class Group:
    number: int  # of the problem
    episodes: list[Played]  # K

    @classmethod
    def start(cls, number: int, problem: Problem, samples: int, tokenizer: Tokenizer) -> "Group":
        return cls(number, [Played.start(problem, tokenizer) for _ in range(samples)])

    @classmethod
    def restored(cls, kept: dict, problem: Problem, tokenizer: Tokenizer) -> "Group":
        """What was `saved`, its environments played up to where they were."""
        return cls(kept["number"], [replayed(problem, tokenizer, one) for one in kept["episodes"]])

    def saved(self) -> dict:
        """As plain values, for a snapshot."""
        return {"number": self.number, "episodes": list(map(saved, self.episodes))}

    @property
    def over(self) -> bool:
        return all(one.over for one in self.episodes)

    @property
    def fresh(self) -> bool:
        """Whether the present weights wrote any of it: otherwise there is nothing to train."""
        return any(any(one.trained) for one in self.episodes)


def collect(
    model: K2Model,
    tokenizer: Tokenizer,
    waiting: list[Group],
    begin: Callable[[int], list[Group]],
    at_once: int,
    *,
    temperature: float,
    seed: int,
    allowance: int | None = None,
    player: Player = play_on,
) -> tuple[list[Group], list[Group]]:
    """(groups that are over, groups that go on next time); `begin(n)` gives n new ones, so that `at_once` are under way.

    `player` plays the episodes on, with `play_on`'s arguments: another than that may have an engine of its own.
    """
    groups = waiting + begin(at_once - len(waiting))
    for group in groups:
        for one in group.episodes:
            one.since = len(one.ids)
    episodes = [one for group in groups for one in group.episodes]
    player(model, tokenizer, episodes, temperature=temperature, seed=seed, allowance=allowance)
    return [group for group in groups if group.over], [group for group in groups if not group.over]

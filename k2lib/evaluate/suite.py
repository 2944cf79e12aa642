"""What a small model is asked: perplexity, and problems of the gym; each a score with its interval. Episodes are greedy.

Base models are asked in the form of their corpus ("Question: … Answer:"), chat models in conversation, as the paper
evaluates base and instruct models differently.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from k2lib import intervals
from k2lib.agents import trajectories
from k2lib.corpus.tokenizer import Tokenizer
from k2lib.gym.play import Played, play
from k2lib.gym.problem import Problem
from k2lib.gym.tool_use import ToolUse
from k2lib.model import K2Model


@dataclass(frozen=True)
class Score:
    name: str
    value: float
    low: float
    high: float
    n: int
    per_item: tuple[float, ...] = ()
    cut: float = 0.0  # share of the episodes in which a turn ran out of its budget of tokens; they count as not solved


@torch.no_grad()
def perplexity(model: K2Model, tokens: torch.Tensor, window: int) -> Score:
    """exp of the mean loss over consecutive windows of `tokens` [N]; the interval is over windows."""
    count, tokens = (len(tokens) - 1) // window, tokens.to(model.embed_tokens.weight.device)
    if count < 1:
        raise ValueError(f"{len(tokens)} tokens are fewer than one window of {window} and its target")
    rows = tokens[: count * window + 1].unfold(0, window + 1, window)
    losses = torch.cat([-model.token_logprobs(rows[i : i + 8]).mean(1) for i in range(0, count, 8)]).double()
    found = intervals.interval(losses, "items")
    middle, low, high = (math.exp(found.value if end is None else end) for end in (found.value, found.low, found.high))
    return Score("perplexity", middle, low, high, count, tuple(losses.tolist()))


def solved(model: K2Model, tokenizer: Tokenizer, problems: list[Problem], corpus_form: bool = False) -> Score:
    """Share of problems that one greedy episode solves."""
    played = [group[0] for group in play(model, tokenizer, problems, corpus_form=corpus_form)]
    return share(problems[0].kind, [float(one.solved) for one in played], cut_share(played))


def tool_use(
    model: K2Model, tokenizer: Tokenizer, problems: list[ToolUse], enforced: bool = False
) -> tuple[Score, Score]:
    """(share of whole tasks done, share of a task's attempted calls that are valid), from full simulated conversations."""
    return of_conversations([group[0] for group in play(model, tokenizer, problems, enforced=enforced)])


def of_conversations(played: list[Played]) -> tuple[Score, Score]:
    """The same of conversations that have been played."""
    calls = [trajectories.validity(one.episode.trajectory()) + [False] * len(one.lost) for one in played]
    valid = share("valid calls", [sum(outcomes) / len(outcomes) for outcomes in calls], cut_share(played))
    return share("tool use", [float(one.solved) for one in played], cut_share(played)), valid


def share(name: str, outcomes: list[float], cut: float) -> Score:
    """A share of right answers with Wilson's interval."""
    return Score(name, *intervals.share(outcomes), len(outcomes), tuple(outcomes), cut)


def cut_share(played: list[Played]) -> float:
    return sum(one.truncated for one in played) / len(played)


def gains(before: Sequence[float], after: Sequence[float]) -> list[float]:
    """What each item gained; ValueError if there are not as many before as after."""
    return [late - early for early, late in zip(before, after, strict=True)]


def over_runs(groups: list[list[Sequence[float]]]) -> dict[str, list[float]]:
    """{"value", "low", "high"} of each group's outcomes [run][item]: Wilson's interval for one run, a bootstrap for several."""
    one = len(groups[0]) == 1
    return intervals.columns([runs[0] if one else runs for runs in groups], "shares" if one else "pairs")

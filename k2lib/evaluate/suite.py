"""What a small model is asked: perplexity, and problems of the gym; each a score with its interval. Episodes are greedy.

Base models are asked in the form of their corpus ("Question: … Answer:"), chat models in conversation, as the paper
evaluates base and instruct models differently.
"""

from dataclasses import dataclass

import torch

from k2lib.agents import trajectories
from k2lib.corpus.tokenizer import Tokenizer
from k2lib.evaluate.metrics import wilson
from k2lib.gym.play import play
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


@torch.no_grad()
def perplexity(model: K2Model, tokens: torch.Tensor, window: int) -> Score:
    """exp of the mean loss over consecutive windows of `tokens` [N]; the interval is over windows."""
    count, tokens = (len(tokens) - 1) // window, tokens.to(model.embed_tokens.weight.device)
    if count < 1:
        raise ValueError(f"{len(tokens)} tokens are fewer than one window of {window} and its target")
    rows = tokens[: count * window + 1].unfold(0, window + 1, window)
    losses = torch.cat([-model.token_logprobs(rows[i : i + 8]).mean(1) for i in range(0, count, 8)]).double()
    mean, error = losses.mean(), losses.std() / count**0.5 if count > 1 else torch.tensor(0.0)
    low, middle, high = ((mean + sign * 1.96 * error).exp().item() for sign in (-1, 0, 1))
    return Score("perplexity", middle, low, high, count, tuple(losses.tolist()))


def solved(model: K2Model, tokenizer: Tokenizer, problems: list[Problem], corpus_form: bool = False) -> Score:
    """Share of problems that one greedy episode solves."""
    played = [group[0] for group in play(model, tokenizer, problems, corpus_form=corpus_form)]
    return share(problems[0].kind, [float(one.solved) for one in played])


def tool_use(model: K2Model, tokenizer: Tokenizer, problems: list[ToolUse]) -> tuple[Score, Score]:
    """(share of whole tasks done, share of written calls that are valid), from full simulated conversations."""
    played = [group[0] for group in play(model, tokenizer, problems)]
    valid, written = trajectories.validity([one.episode.trajectory() for one in played])
    done = share("tool use", [float(one.solved) for one in played])
    return done, Score("valid calls", valid / max(1, written), *wilson(valid, written), written)


def share(name: str, outcomes: list[float]) -> Score:
    """A share of right answers with Wilson's interval."""
    total = sum(outcomes)
    return Score(name, total / max(1, len(outcomes)), *wilson(total, len(outcomes)), len(outcomes), tuple(outcomes))

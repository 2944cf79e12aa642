"""Self-critique: a model ranks several answers by comparing them in pairs under rubrics (section 3.2.2).

The critic is the model itself, asked which of two answers is better, in both orders; what it says turns into one number for each answer
by Bradley and Terry's model. It is kept honest by what can be verified: answers whose reward is known become its lessons, so
that what it learns there carries over to prompts that no program can check.
"""

import itertools
import random
from dataclasses import dataclass

import torch
from torch import Tensor

from k2lib import machine
from k2lib.corpus.tokenizer import Tokenizer
from k2lib.gym.play import Played
from k2lib.llm import chat
from k2lib.model import K2Model
from k2lib.places import DATA

RUBRICS = DATA / "rubrics"
FIRST, SECOND = "1", "2"  # how the critic says which is better
ASK = "Which answer to the question is better, 1 or 2?"
BATCH = 64  # comparisons read together
ROUNDS, PRIOR = (
    200,
    0.1,
)  # of Bradley and Terry's iteration; wins of every answer over every other, before any is counted


@dataclass(frozen=True)
class Pair:
    prompt: str
    first: str
    second: str

    def turned(self) -> "Pair":
        return Pair(self.prompt, self.second, self.first)


def rubrics(own: str = "") -> str:
    """The core rubrics, the prescriptive ones, and a prompt's own."""
    parts = [(RUBRICS / name).read_text(encoding="utf-8").strip() for name in ("core.md", "prescriptive.md")]
    return "\n".join([*parts, *([f"- {own}"] if own else [])])


def question(pair: Pair, rubric: str = "") -> list[dict]:
    """What the critic is asked. The answers are quoted, line by line, so that none can pass for the question."""
    quoted = (f"Answer {name}:\n{_quoted(text)}" for name, text in ((FIRST, pair.first), (SECOND, pair.second)))
    parts = [*([f"Judge by this:\n{rubric}"] if rubric else []), f"Question:\n{_quoted(pair.prompt)}", *quoted, ASK]
    return [{"role": "user", "content": "\n".join(parts)}]


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}" for line in text.splitlines() or [""])


@torch.no_grad()
def preferences(model: K2Model, tokenizer: Tokenizer, pairs: list[Pair], rubric: str = "") -> list[float]:
    """The probability that the first is better, for each pair: the mean of both orders, so that a place is worth nothing."""
    asked = [ask for pair in pairs for ask in (pair, pair.turned())]
    prompts = [chat.encode(tokenizer, question(ask, rubric))[0] for ask in asked]
    said = torch.cat([_first_better(model, tokenizer, prompts[i : i + BATCH]) for i in range(0, len(prompts), BATCH)])
    straight, turned = said.view(-1, 2).T
    return ((straight + 1 - turned) / 2).tolist()


def _first_better(model: K2Model, tokenizer: Tokenizer, prompts: list[list[int]]) -> Tensor:
    """[prompts] probability of FIRST against SECOND as the reply's first token."""
    names = [tokenizer.encode(name)[0] for name in (FIRST, SECOND)]
    where, longest = model.embed_tokens.weight.device, max(map(len, prompts))
    tokens = torch.tensor([ids + [tokenizer.pad_id] * (longest - len(ids)) for ids in prompts], device=where)
    last = torch.tensor([len(ids) - 1 for ids in prompts], device=where)
    model.eval()
    with machine.precision(where):
        hidden = model.hidden(tokens)[torch.arange(len(prompts), device=where), last]
        logits = model.lm_head(hidden).float()[:, names]
    return logits.softmax(-1)[:, 0]


def bradley_terry(wins: Tensor) -> Tensor:
    """[K] strengths, with sum 1, of wins [K, K]: how often, or how surely, row beat column (Hunter's iteration).

    ValueError for wins that are negative or no square.
    """
    if wins.ndim != 2 or wins.shape[0] != wins.shape[1] or bool((wins < 0).any()):
        raise ValueError(f"wins are {tuple(wins.shape)}, or some negative; give a square of counts")
    count = wins.shape[0]
    wins = (wins.double() + PRIOR).fill_diagonal_(0)
    games, strength = wins + wins.T, torch.full((count,), 1 / count, dtype=torch.float64)
    for _ in range(ROUNDS):
        strength = wins.sum(1) / (games / (strength[:, None] + strength[None])).sum(1)
        strength = strength / strength.sum()
    return strength


def ranked(model: K2Model, tokenizer: Tokenizer, prompt: str, answers: list[str], rubric: str = "") -> list[float]:
    """A reward in [0, 1] for each answer: the chance that it beats another one of them. Equal answers get equal rewards."""
    distinct = list(dict.fromkeys(answers))
    if len(distinct) == 1:
        return [0.5] * len(answers)
    places = list(itertools.combinations(range(len(distinct)), 2))
    found = preferences(model, tokenizer, [Pair(prompt, distinct[i], distinct[j]) for i, j in places], rubric)
    wins = torch.zeros(len(distinct), len(distinct))
    for (i, j), chance in zip(places, found, strict=True):
        wins[i, j], wins[j, i] = chance, 1 - chance
    strength = bradley_terry(wins)
    beats = strength[:, None] / (strength[:, None] + strength[None])
    reward = (beats.sum(1) - 0.5) / (len(distinct) - 1)
    known = dict(zip(distinct, reward.tolist(), strict=True))
    return [known[one] for one in answers]


def lessons(groups: list[list[Played]], seed: int = 0) -> list[dict]:
    """Rows for fine-tuning the critic, one for each problem with a right and a wrong answer: which is better is known there."""
    rng, rows = random.Random(f"lessons/{seed}"), []
    for group in groups:
        for pair in told_apart(group)[:1]:
            turn = rng.random() < 0.5
            asked = question(pair.turned() if turn else pair)
            reply = {"role": "assistant", "content": SECOND if turn else FIRST}
            rows.append({"messages": [*asked, reply], "tools": [], "kind": "critic"})
    return rows


def told_apart(group: list[Played]) -> list[Pair]:
    """Pairs of different answers to one problem of which the first was solved and the second was not."""
    known = [one for one in group if one.outcome.status != "void" and len(one.episode.messages) > 1]
    right, wrong = ([one for one in known if one.solved is solved] for solved in (True, False))
    prompt = group[0].problem.messages[-1]["content"]
    pairs = [Pair(prompt, _said(a), _said(b)) for a, b in itertools.product(right, wrong)]
    return [pair for pair in dict.fromkeys(pairs) if pair.first != pair.second]


def agreement(model: K2Model, tokenizer: Tokenizer, groups: list[list[Played]], rubric: str = "") -> float | None:
    """Of pairs of a right and a wrong answer, the share in which the critic prefers the right one; None without such a pair."""
    pairs = [pair for group in groups for pair in told_apart(group)]
    if not pairs:
        return None
    found = preferences(model, tokenizer, pairs, rubric)
    return sum((chance > 0.5) + 0.5 * (chance == 0.5) for chance in found) / len(pairs)


def _said(one: Played) -> str:
    return str(one.episode.messages[-1].get("content") or "")

"""Questions to a base model that need no sampling: whether it would answer rightly, and which of several answers it prefers."""

import torch
from torch import Tensor
from torch.nn import functional as F

from k2lib import machine
from k2lib.corpus.tokenizer import Tokenizer
from k2lib.corpus.world import question_text
from k2lib.model import K2Model

AT_ONCE = 256  # questions


def answered(model: K2Model, tokenizer: Tokenizer, asked: list[tuple[str, str]]) -> list[bool]:
    """For each (question, answer): does the greedy continuation begin with the answer?

    It does exactly if each token of the answer is the likeliest one after those before it, so one forward pass tells.
    """
    return [right for _, right in _scored(model, tokenizer, asked)]


def chosen(model: K2Model, tokenizer: Tokenizer, asked: list[tuple[str, list[str]]]) -> list[int]:
    """For each (question, answers): the place of the answer that the model holds for the most likely as a whole."""
    flat = [(question, answer) for question, answers in asked for answer in answers]
    scores = iter([score for score, _ in _scored(model, tokenizer, flat)])
    return [max((next(scores), place) for place in range(len(answers)))[1] for _, answers in asked]


@torch.no_grad()
def _scored(model: K2Model, tokenizer: Tokenizer, asked: list[tuple[str, str]]) -> list[tuple[float, bool]]:
    """(log-likelihood of the answer, whether it is the greedy one) of each (question, answer)."""
    found: list[tuple[float, bool]] = []
    for at in range(0, len(asked), AT_ONCE):
        some = asked[at : at + AT_ONCE]
        prompts = tokenizer.encode_batch([question_text(question) for question, _ in some])
        answers = tokenizer.encode_batch([f" {answer}" for _, answer in some])
        rows, wanted = _padded(prompts, answers, tokenizer.pad_id)
        where = model.embed_tokens.weight.device
        with machine.precision(where):
            logits = model(rows[:, :-1].to(where)).float()
        targets, wanted = rows[:, 1:].to(where), wanted.to(where)
        losses = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
        likelihoods = -(losses * wanted).sum(1)
        greedy = ((logits.argmax(-1) == targets) | ~wanted).all(1)
        found += zip(likelihoods.tolist(), greedy.tolist(), strict=True)
    return found


def _padded(prompts: list[list[int]], answers: list[list[int]], pad: int) -> tuple[Tensor, Tensor]:
    """(tokens [B, T + 1], which targets belong to the answers [B, T]), padded on the right."""
    width = max(len(p) + len(a) for p, a in zip(prompts, answers, strict=True))
    rows, wanted = torch.full((len(prompts), width), pad), torch.zeros(len(prompts), width - 1, dtype=torch.bool)
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        rows[row, : len(prompt) + len(answer)] = torch.tensor([*prompt, *answer])
        wanted[row, len(prompt) - 1 : len(prompt) + len(answer) - 1] = True
    return rows, wanted

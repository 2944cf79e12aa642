"""What a model thinks of episodes that were played: log-probability and entropy of every token that is trained.

The K episodes of a problem begin with the same prompt. It is read once, with its gradients, and each goes on from its latents:
with long prompts and short answers that is most of the work. QK-Clip sees the logits of PTX's rows, not of these.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from k2lib import machine
from k2lib.gym.play import Played
from k2lib.model import K2Model
from k2lib.model.cache import LatentCache
from k2lib.train.batch import Batch

MULTIPLE = 8  # lengths are padded to


@dataclass(frozen=True)
class Reading:
    """Of the N trained tokens of some episodes, one episode after another."""

    logp: Tensor  # [N], differentiable
    old: Tensor  # [N] as the sampling weights thought
    entropy: Tensor  # [N] nats
    whose: Tensor  # [N] the number of the episode

    @classmethod
    def of(cls, model: K2Model, episodes: list[Played], pad: int) -> "Reading":
        where = model.embed_tokens.weight.device
        cuts = [_own(one) - 1 for one in episodes]  # the last token of a prompt predicts the first of an answer
        rows = [(one.ids[cut:], one.trained[cut:]) for one, cut in zip(episodes, cuts, strict=True)]
        batch = Batch.from_ragged(rows, pad, MULTIPLE).to(where)
        wanted = batch.weights.bool()
        with machine.precision(where):
            prompts = [one.ids[:cut] for one, cut in zip(episodes, cuts, strict=True)]
            cache = _read(model, prompts, batch.tokens.shape[1])
            log_p = model.lm_head(model.hidden(batch.tokens, cache)[wanted]).float().log_softmax(-1)  # [N, V]
        counts = [sum(one.trained) for one in episodes]
        old = [
            value
            for one, count in zip(episodes, counts, strict=True)
            for value in one.logprobs[len(one.logprobs) - count :]
        ]
        logp = log_p.gather(-1, batch.targets[wanted][:, None])[:, 0]
        spread = log_p.detach()
        entropy = -(spread.exp() * spread).sum(-1)
        return cls(logp, torch.tensor(old, device=where), entropy, wanted.nonzero()[:, 0])


def _own(one: Played) -> int:
    """The place of the first token that the model wrote; the end where it wrote none."""
    return one.mask.index(True) if any(one.mask) else len(one.ids)


def _read(model: K2Model, prompts: list[list[int]], room: int) -> LatentCache:
    """The latents of prompts, each distinct one read once, with room for as many more tokens."""
    unique = list(dict.fromkeys(map(tuple, prompts)))
    where, longest = model.embed_tokens.weight.device, max(map(len, unique))
    padded = torch.tensor([[*ids, *[0] * (longest - len(ids))] for ids in unique], device=where)
    cache = LatentCache(model, len(unique), longest + room)
    model.hidden(padded, cache)
    cache.lengths = torch.tensor([len(ids) for ids in unique], device=where)  # what follows takes padding's place
    place = {ids: row for row, ids in enumerate(unique)}
    cache.select(torch.tensor([place[tuple(ids)] for ids in prompts], device=where))
    return cache

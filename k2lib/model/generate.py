"""Generation with the latent cache.

Prompts of different lengths share a batch, each sequence at its own position. Equal prompts (the K samples of one RL
prompt) are prefilled once. Every sequence draws from its own seeded stream, so what it says does not depend on who else
is in the batch, up to the rounding of sums.
Shapes: A sequences, D width, V vocabulary.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from k2lib import machine
from k2lib.model.cache import LatentCache
from k2lib.model.moe import Experts
from k2lib.model.norm import compute_dtype

PREFILL = 256  # tokens at a time: bounds the scores of long prompts
COMPACT = 0.75  # drop ended sequences from the batch once fewer than this share of it goes on


@dataclass
class Completion:
    tokens: list[int] = field(default_factory=list)  # a stop token, if one was met, is the last
    logprobs: list[float] = field(default_factory=list)  # of each token under the model itself, at temperature 1
    finish: str = "length"  # or "stop"


class Constraint(Protocol):
    """What may come next in one sequence; it is told every token that came."""

    def allowed(self) -> Tensor: ...  # [V] bool

    def take(self, token: int) -> None: ...


@torch.no_grad()
def sample(
    model,
    prompts: list[list[int]],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int | Sequence[int] = 0,
    stop_tokens: tuple[int, ...] = (),
    stop: Sequence[Sequence[int]] = (),
    on_token: Callable[[int, int, float], bool | None] | None = None,
    constraints: Sequence[Constraint] | None = None,
) -> list[Completion]:
    """Continue each prompt (token ids, at least one) until a stop token, a sequence of ids of `stop`, or `max_new_tokens`.

    temperature 0 takes the likeliest token; `top_p` keeps the smallest set of tokens with that probability.
    `seed` may be a list, one for each sequence. `on_token(i, t, log_p)` is called as token t of
    sequence i appears (streaming); where it returns True that sequence ends. `constraints`, one for each sequence, leave out
    tokens; log-probabilities stay the model's own. Under autocast products run in its dtype.
    ValueError for an empty prompt, a token outside the vocabulary, a text beyond the model's positions, or settings
    out of range; FloatingPointError for logits that are no numbers.
    """
    _check(model.config, prompts, max_new_tokens, temperature, top_p)
    if any(len(one) == 0 for one in stop):
        raise ValueError("stop holds an empty sequence, which would end every text at once; remove it")
    model = _for_reading(model)
    device, stops = model.embed_tokens.weight.device, set(stop_tokens)
    cache, hidden = _prefill(model, prompts, max_new_tokens)
    completions = [Completion() for _ in prompts]
    seeds = [seed * 1_000_003 + i for i in range(len(prompts))] if isinstance(seed, int) else seed
    streams = [torch.Generator().manual_seed(s) for s in seeds]
    chances = torch.stack([torch.rand(max_new_tokens, generator=stream) for stream in streams]).to(device)
    rows = torch.arange(len(prompts), device=device)  # which sequence each row of the batch is
    with machine.threads_for(len(prompts) * model.config.hidden_size, device):
        for step in range(max_new_tokens):
            log_p = model.lm_head(hidden).float().log_softmax(-1)  # [A, V]
            _refuse_nan(log_p, rows, step)
            open_p = _restricted(log_p, rows, completions, constraints)
            chosen = open_p.argmax(-1) if temperature == 0 else draw(open_p / temperature, top_p, chances[rows, step])
            own = log_p.gather(1, chosen[:, None]).squeeze(1)
            going = []
            for row, (i, token, value) in enumerate(zip(rows.tolist(), chosen.tolist(), own.tolist(), strict=True)):
                if completions[i].finish == "stop":  # ended before, not yet dropped
                    continue
                completions[i].tokens.append(token)
                completions[i].logprobs.append(value)
                if constraints:
                    constraints[i].take(token)
                enough = on_token is not None and on_token(i, token, value)
                if token in stops or enough or _ends(completions[i].tokens, stop):
                    completions[i].finish = "stop"
                else:
                    going.append(row)
            if not going or step + 1 == max_new_tokens:
                break
            if len(going) < COMPACT * len(rows):
                keep = torch.tensor(going, device=device)
                cache.select(keep)
                rows, chosen = rows[keep], chosen[keep]
            hidden = model.hidden(chosen[:, None], cache)[:, 0]
    return completions


def unpadded(tokens: Tensor, mask: Tensor | None) -> list[list[int]]:
    """The prompts of tokens [B, T] whose left parts `mask` [B, T] may hide. ValueError for any other mask."""
    if mask is None:
        return tokens.tolist()
    if mask.shape != tokens.shape:
        raise ValueError(
            f"attention_mask is {list(mask.shape)} and tokens are {list(tokens.shape)}; give one of that shape"
        )
    seen = mask.bool().cpu()
    if bool((seen[:, :-1] & ~seen[:, 1:]).any()) or not bool(seen[:, -1:].all()):
        raise ValueError("attention_mask hides tokens in the middle or at the end; pad prompts on the left")
    return [row[kept].tolist() for row, kept in zip(tokens.cpu(), seen, strict=True)]


def _restricted(log_p: Tensor, rows: Tensor, completions: list[Completion], constraints) -> Tensor:
    """log_p [A, V] with minus infinity for what the sequences' constraints leave out."""
    if not constraints:
        return log_p
    going = [None if completions[i].finish == "stop" else constraints[i].allowed() for i in rows.tolist()]
    masks = [torch.ones(log_p.shape[1], dtype=torch.bool) if mask is None else mask for mask in going]
    return log_p.masked_fill(~torch.stack(masks).to(log_p.device), -math.inf)


def _ends(tokens: list[int], stop: Sequence[Sequence[int]]) -> bool:
    return any(tokens[-len(one) :] == list(one) for one in stop)


def _refuse_nan(log_p: Tensor, rows: Tensor, step: int) -> None:
    """One logit that is NaN or infinite makes its whole row NaN."""
    broken = log_p[:, 0].isnan()
    if broken.any():
        raise FloatingPointError(
            f"the logits of sequence {int(rows[broken][0])} are not finite at its new token {step}; the weights are damaged, or "
            "the model was trained to infinity: load another checkpoint"
        )


def _for_reading(model):
    """The model in evaluation mode, sharing all weights but those that autocast would cast again for every token.

    The caller's model, which may be in the middle of training, is not touched.
    """
    dtype = compute_dtype(model.embed_tokens.weight)
    shared = {id(p): p for p in model.parameters()}
    for module in model.modules():
        if isinstance(module, nn.Linear | Experts):
            for p in module.parameters(recurse=False):
                shared[id(p)] = nn.Parameter(p.to(dtype), requires_grad=False)
    return copy.deepcopy(model, shared).eval()


def _prefill(model, prompts: list[list[int]], room: int) -> tuple[LatentCache, Tensor]:
    """Read every distinct prompt once: the cache, and each last token's hidden state [A, D]."""
    unique = list(dict.fromkeys(map(tuple, prompts)))
    device = model.embed_tokens.weight.device
    lengths = torch.tensor([len(p) for p in unique], device=device)
    longest = int(lengths.max())
    padded = torch.zeros(len(unique), longest, dtype=torch.int64, device=device)
    for row, prompt in enumerate(unique):
        padded[row, : len(prompt)] = torch.tensor(prompt, device=device)
    cache = LatentCache(model, len(unique), longest + room)
    last = None
    for start in range(0, longest, PREFILL):  # what lies beyond a short prompt's end is overwritten as it grows
        hidden = model.hidden(padded[:, start : start + PREFILL], cache)
        index = (lengths - 1 - start).clamp(0, hidden.shape[1] - 1)
        here = hidden[torch.arange(len(unique), device=device), index]
        ended = ((lengths - 1 >= start) & (lengths - 1 < start + PREFILL))[:, None]
        last = here if last is None else torch.where(ended, here, last)
    cache.lengths = lengths
    place = {prompt: row for row, prompt in enumerate(unique)}
    rows = torch.tensor([place[tuple(prompt)] for prompt in prompts], device=device)
    cache.select(rows)
    return cache, last[rows]


def draw(logits: Tensor, top_p: float, chance: Tensor) -> Tensor:
    """One token a row [A] of logits [A, V] by inverting the cumulative distribution at chance [A] in [0, 1).

    `top_p` < 1 leaves the smallest set of likeliest tokens that holds that probability.
    """
    p = logits.softmax(-1)
    if top_p < 1:
        ranked, order = p.sort(-1, descending=True)
        p = p.scatter(1, order, ranked * (ranked.cumsum(-1) - ranked < top_p))
    cumulative = p.double().cumsum(-1)  # in fp32 a chance close to 1 could round to the total and fall off the end
    return torch.searchsorted(cumulative, chance[:, None] * cumulative[:, -1:], right=True).squeeze(1)


def _check(config, prompts: list[list[int]], max_new_tokens: int, temperature: float, top_p: float) -> None:
    if not prompts or any(len(prompt) == 0 for prompt in prompts):
        raise ValueError("every prompt needs at least one token; give the tokenizer's [BOS] for an empty text")
    for token in {token for prompt in prompts for token in prompt}:
        if not 0 <= token < config.vocab_size:
            raise ValueError(
                f"token {token} is outside the model's vocabulary of {config.vocab_size}; "
                "encode the prompt with the checkpoint's own tokenizer"
            )
    whole = type(max_new_tokens) is int and max_new_tokens >= 1
    if not whole or not 0 <= temperature < math.inf or not 0 < top_p <= 1:
        raise ValueError(
            f"max_new_tokens = {max_new_tokens}, temperature = {temperature}, top_p = {top_p}: want an integer of at "
            "least 1, a finite number of at least 0, and one within (0, 1]"
        )
    longest = max(map(len, prompts))
    if longest + max_new_tokens > config.max_position_embeddings:
        raise ValueError(
            f"a prompt of {longest} tokens and {max_new_tokens} new ones exceed the model's "
            f"{config.max_position_embeddings} positions; shorten one of them"
        )

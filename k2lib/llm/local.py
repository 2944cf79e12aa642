"""Our own checkpoints speaking: the one sampler of turns, and a checkpoint as a `ChatModel`."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from k2lib import machine
from k2lib.corpus.tokenizer import Tokenizer
from k2lib.llm import chat
from k2lib.llm.enforcer import Enforcer
from k2lib.llm.protocol import ChatError, Reply, Usage
from k2lib.model import K2Model
from k2lib.model.generate import sample


@dataclass(frozen=True)
class Turn:
    tokens: list[int]  # as sampled, the stop token included
    logprobs: list[float]  # of each token at temperature 1
    finished: bool  # the model ended it; otherwise it was cut
    parsed: chat.Parsed


def sample_turns(
    model: K2Model,
    tokenizer: Tokenizer,
    prompts: list[list[int]],
    *,
    budgets: Sequence[int],
    temperature: float = 0.0,
    seed: int | Sequence[int] = 0,
    on_token: Callable[[int, int, float], bool | None] | None = None,
    tools: Sequence[list[dict]] | None = None,
) -> list[Turn]:
    """One assistant turn after each prompt (token ids up to it), cut at its budget of tokens.

    `tools`, one list for each prompt, enforces that calls are valid ones of these tools (`k2lib.llm.enforcer`).
    Computed as training does, under mixed precision. Control tokens count by id only: text that spells one stays text.
    """
    stop = (tokenizer.encode_control(chat.END), tokenizer.eos_id)
    settings = {"temperature": temperature, "seed": seed, "stop_tokens": stop, "on_token": on_token}
    if tools is not None:
        enforcer = Enforcer(tokenizer)
        settings["constraints"] = [enforcer.turn(declared) for declared in tools]
    with machine.precision(model.embed_tokens.weight.device):
        completions = sample(model, prompts, max_new_tokens=max(budgets), **settings)
    turns = []
    for done, budget in zip(completions, budgets, strict=True):
        finished = done.finish == "stop" and len(done.tokens) <= budget
        tokens = done.tokens[:budget]
        turns.append(Turn(tokens, done.logprobs[:budget], finished, chat.parse_ids(tokens, tokenizer)))
    return turns


class LocalChat:
    def __init__(self, model: K2Model, tokenizer: Tokenizer, name: str = "local", enforced: bool = False):
        self.model, self._model, self._tokenizer, self._enforced = name, model, tokenizer, enforced

    @cached_property
    def identity(self) -> str:
        """A hash of the weights: two checkpoints may have one name."""
        digest = hashlib.sha256()
        for parameter in self._model.parameters():
            digest.update(parameter.detach().to(machine.HOST).contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()[:16]

    async def complete(
        self,
        messages: list[dict],
        *,
        tools: list[dict] | None = None,
        temperature: float = 0.0,
        max_tokens: int = 512,
        seed: int | None = None,
    ) -> Reply:
        """One completion. ChatError for a conversation that the format or the model's positions do not take."""
        settings = {"budgets": [max_tokens], "temperature": temperature, "seed": seed or 0}
        settings |= {"tools": [tools or []]} if self._enforced else {}
        try:
            prompt, _ = chat.encode(self._tokenizer, messages, tools)
            (turn,) = await asyncio.to_thread(sample_turns, self._model, self._tokenizer, [prompt], **settings)
        except ValueError as error:
            raise ChatError(f"{self.model}: {error}") from None
        message = turn.parsed.message
        finish = "tool_calls" if message.get("tool_calls") else "stop" if turn.finished else "length"
        return Reply(message, finish, Usage(len(prompt), len(turn.tokens)), self.model)

"""One of our own checkpoints as a `ChatModel`."""

import asyncio

from k2lib.corpus.tokenizer import Tokenizer
from k2lib.llm import chat
from k2lib.llm.protocol import Reply, Usage
from k2lib.model import K2Model
from k2lib.model.generate import sample


class LocalChat:
    def __init__(self, model: K2Model, tokenizer: Tokenizer, name: str = "local"):
        self.model, self._model, self._tokenizer = name, model, tokenizer
        self._stop = (tokenizer.encode_control(chat.END), tokenizer.eos_id)

    async def complete(
        self,
        messages: list[dict],
        *,
        tools: list[dict] | None = None,
        temperature: float = 0.0,
        max_tokens: int = 512,
        seed: int | None = None,
    ) -> Reply:
        """One completion; control tokens count by id only, so text that spells one stays text."""
        prompt, _ = chat.encode(self._tokenizer, messages, tools)
        done = (
            await asyncio.to_thread(
                sample,
                self._model,
                [prompt],
                max_new_tokens=max_tokens,
                temperature=temperature,
                seed=seed or 0,
                stop_tokens=self._stop,
            )
        )[0]
        message = chat.parse_ids(done.tokens, self._tokenizer).message
        finish = "tool_calls" if message.get("tool_calls") else done.finish
        return Reply(message, finish, Usage(len(prompt), len(done.tokens)), self.model)

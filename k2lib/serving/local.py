"""An engine as a `ChatModel` of this process: what `k2 serve` serves, without a network between."""

from contextlib import aclosing

from k2lib.llm import ChatError, Reply, Usage
from k2lib.serving.batcher import Batcher
from k2lib.serving.engine import Engine, Request, Sampling
from k2lib.serving.turn import Turn


class EngineChat:
    """Requests that are awaited together are decoded together."""

    def __init__(self, engine: Engine, batch: int = 16, identity: str = ""):
        self.model, self.identity, self._batcher = engine.name, identity, Batcher(engine, batch)

    async def complete(
        self,
        messages: list[dict],
        *,
        tools: list[dict] | None = None,
        temperature: float = 0.0,
        max_tokens: int = 512,
        seed: int | None = None,
    ) -> Reply:
        """One completion. ChatError for messages that the model's format or its positions do not take, and if it fails."""
        engine = self._batcher.engine
        try:
            prompt = engine.prompt(messages, tools or [])
        except ValueError as error:
            raise ChatError(f"{self.model}: {error}") from None
        room = engine.positions - len(prompt)
        if room < 1:
            raise ChatError(
                f"{self.model} reads {engine.positions} tokens, and the prompt has {len(prompt)}; shorten it"
            )
        request = Request(tuple(prompt), min(max_tokens, room), Sampling(temperature, 1.0), seed or 0)
        turn = Turn(engine, ())
        async with aclosing(self._batcher.listen(request)) as events:
            async for event in events:
                turn.hear(event)
        if turn.error is not None:
            raise ChatError(f"{self.model} failed: {turn.error}")
        message = turn.message  # a call among it changes how the turn has finished
        return Reply(message, turn.finish, Usage(len(prompt), len(turn.tokens)), self.model)

    def close(self) -> None:
        self._batcher.close()

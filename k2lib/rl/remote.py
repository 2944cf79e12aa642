"""Rollouts by an endpoint that completes token ids and tells their log-probabilities: vLLM, `k2 serve`.

Ids go out and ids come back, so nothing is rendered or tokenized twice. What is played can be trained on as if it had been
sampled here: `mismatch` in an iteration's record tells how far the endpoint's probabilities are from the trainer's. A request that fails
after its retries costs its own episode, which is void. Before it plays for a trainer the endpoint takes the new weights from a
directory that both can read (section 3.3 and Appendix G, where an engine of its own does it for a trillion parameters).
"""

import asyncio
import math
import os
import re
import shutil
from pathlib import Path

from k2lib.corpus.tokenizer import Tokenizer
from k2lib.gym.play import MOST_TURNS, Played
from k2lib.gym.problem import Problem
from k2lib.llm import chat
from k2lib.llm.local import Turn
from k2lib.llm.protocol import ChatError
from k2lib.model import K2Model
from k2lib.synth.rephrase import run
from k2lib.train import save_checkpoint

MOST_AT_ONCE = 32  # episodes


class Endpoint:
    """One that serves /v1/completions at `base_url`, as OpenAI's. ChatError from its methods names it and what failed."""

    def __init__(
        self,
        model: str,
        base_url: str,
        tokenizer: Tokenizer,
        positions: int,
        api_key: str = "none",
        timeout: float = 300.0,
    ):
        self.model, self.base_url, self.positions, self.tokenizer = model, base_url, positions, tokenizer
        self._settings = {"base_url": base_url, "api_key": api_key, "timeout": timeout, "max_retries": 4}
        self._ends = [tokenizer.encode_control(chat.END), tokenizer.eos_id]

    @classmethod
    def at(cls, base_url: str, tokenizer: Tokenizer, positions: int, **settings: object) -> "Endpoint":
        """Of the model that is served at a URL, with `positions` or as many as it has, if they are fewer. ChatError if nobody answers."""
        from openai import OpenAI, OpenAIError

        one = cls("the endpoint", base_url, tokenizer, positions, **settings)
        try:
            with OpenAI(**one._settings) as client:
                served = client.models.list().data[0]
        except (OpenAIError, IndexError, TypeError, ValueError) as error:
            raise ChatError(f"{base_url} lists no model ({_why(error)}); start one there with `k2 serve`") from None
        one.model = served.id
        longest = getattr(served, "max_model_len", None)
        one.positions = min(positions, longest) if isinstance(longest, int) else positions
        return one

    def take(self, directory: Path) -> None:
        """Makes the endpoint serve the weights of a checkpoint. ChatError if it cannot, or does not know the route (SGLang's)."""
        from openai import OpenAI, OpenAIError

        route, body = "/update_weights_from_disk", {"model_path": str(directory.resolve())}
        try:
            with OpenAI(**self._settings | {"base_url": self.base_url.rstrip("/").removesuffix("/v1")}) as client:
                told = client.post(route, cast_to=object, body=body)
        except OpenAIError as error:
            raise ChatError(
                f"{self.base_url} has not taken the new weights ({_why(error)}); `k2 serve --takes-weights` does"
            ) from None
        if not isinstance(told, dict) or told.get("success") is not True:
            raise ChatError(f"{self.base_url} has not taken the new weights: it answers {str(told)[:200]}")

    def opened(self):
        """A client, to be used within one event loop and closed there."""
        from openai import AsyncOpenAI

        return AsyncOpenAI(**self._settings)

    async def turn(self, client, prompt: list[int], budget: int, temperature: float, seed: int) -> Turn:
        """The assistant's turn after a prompt, cut at its budget of tokens."""
        from openai import OpenAIError

        more = {"return_tokens_as_token_ids": True, "stop_token_ids": self._ends}
        try:
            answer = await client.completions.create(
                model=self.model,
                prompt=prompt,
                max_tokens=budget,
                temperature=temperature,
                seed=seed,
                logprobs=1,
                extra_body=more,
            )
            choice = answer.choices[0]
            tokens, values = ids(choice.logprobs.tokens), [float(value) for value in choice.logprobs.token_logprobs]
        except (OpenAIError, ValueError, TypeError, AttributeError, IndexError) as error:
            raise ChatError(f"{self.model} at {self.base_url} failed ({_why(error)})") from None
        if not tokens or len(tokens) != len(values):
            raise ChatError(
                f"{self.base_url} told {len(tokens)} tokens and {len(values)} log-probabilities; it must tell each"
            )
        finished = tokens[-1] in self._ends
        return Turn(tokens, values, finished, chat.parse_ids(tokens, self.tokenizer))


def ids(tokens: list[str]) -> list[int]:
    """Of tokens written as "token_id:5". ValueError for another form: the endpoint does not know `return_tokens_as_token_ids`."""
    found = [re.fullmatch(r"token_id:(\d{1,9})", token) for token in tokens]
    if not all(found):
        raise ValueError(
            f"tokens are told as {tokens[:3]} and not by their ids; the endpoint must know return_tokens_as_token_ids"
        )
    return [int(match[1]) for match in found]


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"


def play_remotely(
    endpoint: Endpoint, problems: list[Problem], *, samples: int = 1, temperature: float = 1.0, seed: int = 0
) -> list[list[Played]]:
    """[problem][sample] episodes, each played to its end, many at once; those that lost the endpoint are void."""
    groups = [[Played.start(problem, endpoint.tokenizer) for _ in range(samples)] for problem in problems]
    play_on(endpoint, [one for group in groups for one in group], temperature=temperature, seed=seed)
    return groups


def play_on(
    endpoint: Endpoint, episodes: list[Played], *, temperature: float, seed: int, allowance: int | None = None
) -> None:
    """Plays episodes on, to their end or until each has written `allowance` more tokens, as `gym.play.play_on` does here."""
    run(_play_on(endpoint, episodes, temperature, seed, math.inf if allowance is None else allowance))


async def _play_on(endpoint: Endpoint, episodes: list[Played], temperature: float, seed: int, allowance: float) -> None:
    free = asyncio.Semaphore(MOST_AT_ONCE)
    async with endpoint.opened() as client:

        async def go_on(one: Played, row: int) -> None:
            left = allowance
            async with free:
                while left and not one.over:
                    one.truncated = len(one.ids) + one.left > endpoint.positions
                    if one.truncated:
                        return
                    own = (seed * 1_000_003 + row) * MOST_TURNS + one.turns
                    try:
                        said = await endpoint.turn(client, one.ids, min(one.left, left), temperature, own)
                    except ChatError as error:
                        one.broken = str(error)
                        return
                    paused = not said.finished and left < one.left
                    left = max(0, left - len(said.tokens))
                    one.take(said, endpoint.tokenizer, paused)

        await asyncio.gather(*(go_on(one, row) for row, one in enumerate(episodes)))


class Remote:
    """Plays for `train_rl` at an endpoint, in place of the trainer's own model: `player=Remote(endpoint, folder)`.

    The weights go through `folder`, which the endpoint must be able to read. If it does not take them, what is not
    over is void, since nobody could tell which weights played it.
    """

    def __init__(self, endpoint: Endpoint, folder: Path):
        self._endpoint, self._folder = endpoint, folder

    def __call__(
        self, model: K2Model, tokenizer: Tokenizer, episodes: list[Played], *, temperature: float, seed: int, allowance
    ) -> None:
        weights = save_checkpoint(self._folder / f"weights-{os.getpid()}", model, tokenizer, {})
        try:
            self._endpoint.take(weights)
        except ChatError as error:
            for one in (one for one in episodes if not one.over):
                one.broken = str(error)
            return
        finally:
            shutil.rmtree(weights)
        play_on(self._endpoint, episodes, temperature=temperature, seed=seed, allowance=allowance)

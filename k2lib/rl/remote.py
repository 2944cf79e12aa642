"""Rollouts by an endpoint that completes token ids and tells their log-probabilities: vLLM, SGLang, `k2 serve`.

Ids go out and ids come back, so nothing is rendered or tokenized twice. What is played can be trained on as if it had been
sampled here: `mismatch` in an iteration's record tells how far the endpoint's probabilities are from the trainer's. A request that fails
after its retries costs its own episode, which is void.
"""

import asyncio
import re

from k2lib.corpus.tokenizer import Tokenizer
from k2lib.gym.play import Played
from k2lib.gym.problem import Problem
from k2lib.llm import chat
from k2lib.llm.local import Turn
from k2lib.llm.protocol import ChatError
from k2lib.synth.rephrase import run

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
            raise ChatError(
                f"{self.model} at {self.base_url} failed ({type(error).__name__}: {str(error)[:200]})"
            ) from None
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


def play_remotely(
    endpoint: Endpoint, problems: list[Problem], *, samples: int = 1, temperature: float = 1.0, seed: int = 0
) -> list[list[Played]]:
    """[problem][sample] episodes, each played to its end, many at once; those that lost the endpoint are void."""
    return run(_played(endpoint, problems, samples, temperature, seed))


async def _played(
    endpoint: Endpoint, problems: list[Problem], samples: int, temperature: float, seed: int
) -> list[list[Played]]:
    groups = [[Played.start(problem, endpoint.tokenizer) for _ in range(samples)] for problem in problems]
    free = asyncio.Semaphore(MOST_AT_ONCE)
    async with endpoint.opened() as client:

        async def finish(one: Played, row: int) -> None:
            async with free:
                while not one.over:
                    one.truncated = len(one.ids) + one.left > endpoint.positions
                    if one.truncated:
                        return
                    try:
                        said = await endpoint.turn(
                            client, one.ids, one.left, temperature, (seed * 1_000_003 + row) * 64 + one.turns
                        )
                    except ChatError as error:
                        one.broken = str(error)
                        return
                    one.take(said, endpoint.tokenizer)

        every = [one for group in groups for one in group]
        await asyncio.gather(*(finish(one, row) for row, one in enumerate(every)))
    return groups

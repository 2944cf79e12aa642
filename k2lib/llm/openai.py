"""Any OpenAI-compatible endpoint (vLLM, SGLang, a hosted K2) as a `ChatModel`.

The `openai` package does the HTTP, the retries with back-off and the rate-limit headers. What it does not do is look at the
reply: an HTML page with status 200, broken JSON, empty choices and null content pass through it silently or as somebody else's
exception, and are a ChatError here. What surprised: its connections and a semaphore belong to one event loop, and a notebook
starts a new loop for every call, so both are kept per loop, and closed with it; and its time limit is that of one silence,
so a server that drips a byte a second is never late, and the whole request has a limit here.
"""

import asyncio
import os
import re
from weakref import WeakKeyDictionary

from k2lib.llm.protocol import ChatError, Reply, Usage


class OpenAIChat:
    def __init__(
        self,
        model: str,
        *,
        base_url: str,
        api_key: str = "none",
        timeout: float = 120.0,
        max_retries: int = 4,
        concurrency: int = 16,
    ):
        """ValueError for a `base_url` that is none. `timeout` is for a whole request, its retries included, in seconds."""
        if not re.match(r"https?://[^/\s]", base_url):
            raise ValueError(f"the base URL {base_url!r} is none; write it like http://127.0.0.1:8000/v1")
        self.model, self.base_url, self.timeout = model, base_url, timeout
        self.identity = base_url
        self._settings = {"base_url": base_url, "api_key": api_key, "timeout": timeout, "max_retries": max_retries}
        self._concurrency = concurrency
        self._loops: WeakKeyDictionary = WeakKeyDictionary()

    async def complete(
        self,
        messages: list[dict],
        *,
        tools: list[dict] | None = None,
        temperature: float = 0.0,
        max_tokens: int = 512,
        seed: int | None = None,
    ) -> Reply:
        """One completion, without its thoughts. ChatError if the endpoint fails after the retries or answers with nothing."""
        from openai import OpenAIError

        extra = ({"tools": tools} if tools else {}) | ({"seed": seed} if seed is not None else {})
        client, slots = await self._of_this_loop()
        async with slots:
            try:
                request = client.chat.completions.create(
                    model=self.model, messages=messages, temperature=temperature, max_tokens=max_tokens, **extra
                )
                answer = await asyncio.wait_for(request, self.timeout)
            except TimeoutError:
                raise ChatError(
                    f"{self.model} at {self.base_url} gave no whole answer in {self.timeout:g} s; raise the timeout, or ask "
                    "for fewer tokens"
                ) from None
            except (OpenAIError, ValueError) as error:  # ValueError: a body that is not JSON
                raise ChatError(
                    f"{self.model} at {self.base_url} failed ({type(error).__name__}: {str(error)[:200]}); check "
                    "K2_LLM_BASE_URL, K2_LLM_MODEL and K2_LLM_API_KEY, or unset them"
                ) from None
        return self._checked(answer)

    async def _of_this_loop(self) -> tuple:
        """(client, semaphore) of the running event loop, closed with it."""
        from openai import AsyncOpenAI  # 0.4 s to import: only those pay who have an endpoint

        loop = asyncio.get_running_loop()
        if loop not in self._loops:
            client = AsyncOpenAI(**self._settings)
            closing = _closing(client)
            self._loops[loop] = (client, asyncio.Semaphore(self._concurrency), closing)
            await anext(closing)  # asyncio.run ends a loop's generators before the loop, whatever became of its tasks
        return self._loops[loop][:2]

    def _checked(self, answer) -> Reply:
        usage, name = getattr(answer, "usage", None), getattr(answer, "model", None)
        counts = (getattr(usage, one, None) for one in ("prompt_tokens", "completion_tokens"))
        used = Usage(*(count if type(count) is int and count >= 0 else 0 for count in counts))
        choices = getattr(answer, "choices", None)
        if not isinstance(choices, list) or not choices:
            raise ChatError(
                f"{self.base_url} answered with {type(answer).__name__} and no choices; it is no chat endpoint", used
            )
        message, finish = getattr(choices[0], "message", None), getattr(choices[0], "finish_reason", None)
        content, calls = (
            _text(getattr(message, "content", None)),
            self._calls(getattr(message, "tool_calls", None), used),
        )
        if not (content or "").strip() and not calls:
            cut = "; it was cut, so raise max_tokens" if finish == "length" else ""
            raise ChatError(f"{self.model} at {self.base_url} answered with neither text nor tool calls{cut}", used)
        out = {"role": "assistant", "content": content or ""} | ({"tool_calls": calls} if calls else {})
        model = name if isinstance(name, str) and name else self.model
        return Reply(out, finish if isinstance(finish, str) else "stop", used, model)

    def _calls(self, calls, used: Usage) -> list[dict]:
        out = []
        for call in calls if isinstance(calls, list) else []:
            function, call_id = getattr(call, "function", None), getattr(call, "id", None)
            name, arguments = getattr(function, "name", None), getattr(function, "arguments", None)
            if not all(isinstance(part, str) for part in (call_id, name, arguments)):
                raise ChatError(
                    f"{self.model} at {self.base_url} answered with a tool call without id, name or arguments", used
                )
            out.append({"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}})
        return out


def endpoint(model: str, base_url: str, **settings) -> OpenAIChat:
    """One with the key that K2_LLM_API_KEY holds; `settings` are those of `OpenAIChat`. ValueError for an empty key."""
    key = os.environ.get("K2_LLM_API_KEY", "none")
    if not key.strip():
        raise ValueError("K2_LLM_API_KEY is set and empty; give the endpoint's key, or unset it if it needs none")
    return OpenAIChat(model, base_url=base_url, api_key=key, **settings)


async def _closing(client):
    """Yields once, and closes the client when the generator is ended."""
    try:
        yield
    finally:
        await client.close()


def _text(content) -> str | None:
    """Text of a reply's content: a string, or a list of parts as some servers send it; None for anything else.

    What stands in <think> is left out; a thought that does not end leaves nothing.
    """
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    if not isinstance(content, str):
        return None
    spoken = re.sub(r"<think>.*?</think>", "", content, flags=re.DOTALL)
    return spoken[: spoken.find("<think>")] if "<think>" in spoken else spoken.split("</think>")[-1]

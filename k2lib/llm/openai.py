"""Any OpenAI-compatible endpoint (vLLM, SGLang, a hosted K2) as a `ChatModel`.

The `openai` package does the HTTP, the retries with back-off and the rate-limit headers. What it does not do is look at the
reply: an HTML page with status 200, empty choices and null content all pass through it silently, and are errors here.
"""

import asyncio

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
        from openai import AsyncOpenAI  # 0.4 s to import: only those pay who have an endpoint

        self.model, self.base_url = model, base_url
        self._client = AsyncOpenAI(base_url=base_url, api_key=api_key, timeout=timeout, max_retries=max_retries)
        self._slots = asyncio.Semaphore(concurrency)

    async def complete(
        self,
        messages: list[dict],
        *,
        tools: list[dict] | None = None,
        temperature: float = 0.0,
        max_tokens: int = 512,
        seed: int | None = None,
    ) -> Reply:
        """One completion. ChatError if the endpoint fails after the retries or answers with something else."""
        from openai import OpenAIError

        extra = ({"tools": tools} if tools else {}) | ({"seed": seed} if seed is not None else {})
        async with self._slots:
            try:
                answer = await self._client.chat.completions.create(
                    model=self.model, messages=messages, temperature=temperature, max_tokens=max_tokens, **extra
                )
            except OpenAIError as error:
                raise ChatError(
                    f"{self.model} at {self.base_url} failed ({type(error).__name__}: {str(error)[:200]}); check "
                    "K2_LLM_BASE_URL, K2_LLM_MODEL and K2_LLM_API_KEY, or unset them"
                ) from None
        return self._checked(answer)

    def _checked(self, answer) -> Reply:
        choices = getattr(answer, "choices", None)
        if not choices:
            raise ChatError(
                f"{self.base_url} answered with {type(answer).__name__} and no choices; it is no chat endpoint"
            )
        message, usage = choices[0].message, answer.usage
        calls = [
            {"id": c.id, "type": "function", "function": {"name": c.function.name, "arguments": c.function.arguments}}
            for c in message.tool_calls or []
        ]
        if message.content is None and not calls:
            raise ChatError(f"{self.model} at {self.base_url} answered with neither text nor tool calls")
        out = {"role": "assistant", "content": message.content or ""} | ({"tool_calls": calls} if calls else {})
        used = Usage(usage.prompt_tokens, usage.completion_tokens) if usage else Usage()
        return Reply(out, choices[0].finish_reason or "stop", used, answer.model or self.model)

"""A question whose answer must have a form: what does not have it is asked for once more, with the reason."""

from collections.abc import Callable
from typing import TypeVar

from k2lib.llm.protocol import ChatError, ChatModel, Reply

Answer = TypeVar("Answer")


async def ask(model: ChatModel, messages: list[dict], read: Callable[[Reply], Answer], **settings) -> Answer:
    """What `read` makes of the model's reply. If it raises ValueError the model is told why and tries once more.

    ChatError if that reply has not the form either. `settings` are those of `complete`.
    """
    reply = await model.complete(messages, **settings)
    try:
        return read(reply)
    except ValueError as error:
        why = str(error)
    said = {"role": "assistant", "content": reply.message.get("content") or ""}
    told = {
        "role": "user",
        "content": f"That cannot be used: {why}. Answer once more, and only with what was asked for.",
    }
    again = await model.complete([*messages, said, told], **settings)
    try:
        return read(again)
    except ValueError as error:
        raise ChatError(f"{model.model} answered twice with what cannot be used ({why}; then: {error})") from None

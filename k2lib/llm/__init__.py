"""Language models behind one protocol, and the chat format they speak.

`LocalChat` is loaded on first use: who speaks to an endpoint must not wait for PyTorch.
"""

import os

from k2lib.llm.openai import OpenAIChat, endpoint
from k2lib.llm.protocol import ChatError, ChatModel, Reply, Usage
from k2lib.llm.scripted import ScriptedChat

__all__ = ["ChatError", "ChatModel", "LocalChat", "OpenAIChat", "Reply", "ScriptedChat", "Usage", "from_environment"]


def from_environment(seed: int = 0) -> ChatModel:
    """The endpoint that K2_LLM_BASE_URL names, else the scripted writer. Never one in place of the other.

    ValueError for a base URL that is none, one without K2_LLM_MODEL, and an empty K2_LLM_API_KEY.
    """
    base_url = os.environ.get("K2_LLM_BASE_URL")
    if not base_url:
        return ScriptedChat(seed)
    model = os.environ.get("K2_LLM_MODEL")
    if not model:
        raise ValueError("K2_LLM_BASE_URL is set but K2_LLM_MODEL is not; name the model that the endpoint serves")
    return endpoint(model, base_url)


def __getattr__(name: str):
    if name == "LocalChat":
        from k2lib.llm.local import LocalChat

        return LocalChat
    raise AttributeError(f"module 'k2lib.llm' has no attribute {name!r}")

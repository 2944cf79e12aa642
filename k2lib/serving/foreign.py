"""A checkpoint that transformers reads, as an `Engine`: its own chat template, its own cache, batched with padding on the left.

Text never becomes a control token here either: the template is rendered around placeholders, and what stood in their place is
encoded as plain text. Calls are read in the form that most open models write, <tool_call>{"name": …, "arguments": …}</tool_call>.
"""

import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import torch

from k2lib import machine
from k2lib.llm import arguments
from k2lib.model.generate import draw
from k2lib.serving.engine import Listener, Request

_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)


class TransformersEngine:
    """RuntimeError without transformers; ValueError for a checkpoint that it does not read, or one without a chat template."""

    def __init__(self, directory: Path | str, name: str):
        try:
            from transformers import AutoModelForCausalLM, AutoTokenizer
        except ImportError as error:
            raise RuntimeError("this checkpoint needs transformers: pip install 'k2lib[serve]'") from error
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(directory)
            model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(f"transformers cannot read {directory} ({str(error)[:300]})") from None
        if not self._tokenizer.chat_template:
            raise ValueError(f"{directory} has no chat template; add a chat_template.jinja")
        self.name, self._model = name, model.to(machine.device()).eval()
        self.positions, self.opening = model.config.max_position_embeddings, "<tool_call>"
        self.vocabulary = model.config.vocab_size
        ends = model.generation_config.eos_token_id
        self._ends = {self._tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None}
        self._special = set(self._tokenizer.all_special_ids)

    def prompt(self, messages: list[dict], tools: list[dict]) -> list[int]:
        mark = secrets.token_hex(8)
        kept, held = [], []
        for message in messages:
            text = _words(message.get("content"))
            kept.append(message | {"content": f"{mark}{len(held)}{mark}"})
            held.append(text)
        template = {"tools": tools or None, "tokenize": False, "add_generation_prompt": True}
        try:
            rendered = self._tokenizer.apply_chat_template(kept, **template)
        except Exception as error:  # a template raises what it likes
            raise ValueError(f"the model's chat template does not take these messages ({str(error)[:200]})") from None
        tokens: list[int] = []
        for place, part in enumerate(re.split(rf"{mark}(\d+){mark}", rendered)):
            tokens += self._encode(held[int(part)], plain=True) if place % 2 else self._encode(part, plain=False)
        return tokens

    def _encode(self, text: str, plain: bool) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=plain) if text else []

    @torch.no_grad()
    def decode(self, requests: list[Request], listener: Listener) -> None:
        where, sampling = self._model.device, requests[0].sampling
        width = max(len(one.prompt) for one in requests)
        tokens = torch.zeros(len(requests), width, dtype=torch.int64, device=where)
        seen = torch.zeros_like(tokens)
        for row, one in enumerate(requests):
            tokens[row, width - len(one.prompt) :] = torch.tensor(one.prompt, device=where)
            seen[row, width - len(one.prompt) :] = 1
        streams = [_chances(one.seed) for one in requests]
        positions = (seen.cumsum(1) - 1).clamp(min=0)
        going, cache = list(range(len(requests))), None
        for _ in range(max(one.max_tokens for one in requests)):
            with machine.precision(where):
                out = self._model(tokens, attention_mask=seen, position_ids=positions, past_key_values=cache)
            cache, log_p = out.past_key_values, out.logits[:, -1].float().log_softmax(-1)  # [A, V]
            chance = torch.tensor([next(stream) for stream in streams], device=where)
            greedy = sampling.temperature == 0
            chosen = log_p.argmax(-1) if greedy else draw(log_p / sampling.temperature, sampling.top_p, chance)
            values = log_p.gather(1, chosen[:, None]).squeeze(1).tolist()
            heard = chosen.tolist()
            going = [row for row in going if not listener(row, heard[row], values[row])]
            if not going:
                return
            tokens, positions = chosen[:, None], positions[:, -1:] + 1
            seen = torch.cat([seen, torch.ones_like(tokens)], 1)

    def ends(self, token: int) -> bool:
        return token in self._ends

    def message(self, tokens: list[int]) -> dict:
        text = self.text(tokens)
        calls = []
        for match in _CALL.finditer(text):
            call, _ = arguments.read(match[1].strip())
            if call and isinstance(call.get("name"), str) and isinstance(call.get("arguments"), dict):
                function = {"name": call["name"], "arguments": json.dumps(call["arguments"], ensure_ascii=False)}
                calls.append({"id": f"call_{len(calls)}", "type": "function", "function": function})
        content = _CALL.sub("", text).strip() if calls else text
        return {"role": "assistant", "content": content} | ({"tool_calls": calls} if calls else {})

    def text(self, tokens: list[int]) -> str:
        return self._tokenizer.decode([token for token in tokens if token not in self._special])


def _words(content: object) -> str:
    """Text of a message's content. ValueError for any other part than text."""
    if content is None or isinstance(content, str):
        return content or ""
    parts = content if isinstance(content, list) else [content]
    if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in parts):
        raise ValueError("this model reads text only; a message's content is a text, or a list of parts with text")
    return "".join(part["text"] for part in parts)


def _chances(seed: int) -> Iterator[float]:
    """A stream of its own for every request: who else is in the batch changes nothing."""
    stream = torch.Generator().manual_seed(seed)
    while True:
        yield torch.rand((), generator=stream).item()

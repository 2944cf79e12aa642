"""A conversation in the terminal with any checkpoint directory: ours, or one that transformers wrote (`k2 chat`)."""

from collections.abc import Callable, Iterator
from pathlib import Path

from k2lib import machine
from k2lib.corpus.tokenizer import Tokenizer
from k2lib.llm import chat
from k2lib.llm.local import sample_turns
from k2lib.model import K2Model

HELP = "Type a message; /clear forgets the conversation, /exit (or Ctrl-D) ends it."


def load(directory: Path | str) -> tuple[K2Model, Tokenizer]:
    """Model and tokenizer of a checkpoint directory. FileNotFoundError or ValueError say what does not fit."""
    model, tokenizer = K2Model.from_pretrained(directory, device=machine.device()).eval(), Tokenizer.load(directory)
    if tokenizer.vocab_size > model.config.vocab_size:
        raise ValueError(
            f"{directory}: the tokenizer has {tokenizer.vocab_size} tokens, the model knows {model.config.vocab_size}; "
            "they are not from the same checkpoint"
        )
    return model, tokenizer


def converse(
    model: K2Model,
    tokenizer: Tokenizer,
    *,
    system: str = "",
    temperature: float = 0.6,
    max_tokens: int = 256,
    seed: int = 0,
    read: Callable[[str], str] = input,
    write: Callable[[str], None] = lambda text: print(text, end="", flush=True),
) -> list[dict]:
    """Talk until the input ends; the messages. An answer is written as it appears; 0.6 is the temperature advised for K2.

    When the conversation outgrows the model's positions the oldest turns are left out, and that is said.
    """
    write(HELP + "\n")
    opening = [{"role": "system", "content": system}] if system else []
    messages = list(opening)
    for text in _lines(read):
        if text == "/exit":
            break
        if text == "/clear":
            messages = list(opening)
            continue
        messages.append({"role": "user", "content": text})
        prompt = _fitting(model, tokenizer, messages, len(opening), max_tokens, write)
        if prompt is None:
            messages.pop()
            continue
        shown = _Shown(tokenizer, write)
        how = {"temperature": temperature, "seed": seed + len(messages), "on_token": shown.add}
        (turn,) = sample_turns(model, tokenizer, [prompt], budgets=[max_tokens], **how)
        shown.finish()
        write("\n" if turn.finished else f" … (cut at {max_tokens} tokens)\n")
        messages.append(turn.parsed.message)
    return messages


def _lines(read: Callable[[str], str]) -> Iterator[str]:
    while True:
        try:
            text = read("> ").strip()
        except EOFError:
            return
        if text:
            yield text


def _fitting(model, tokenizer, messages: list[dict], fixed: int, room: int, write) -> list[int] | None:
    """The prompt of the longest recent part of the conversation that leaves room for an answer; None if none does."""
    limit, kept = model.config.max_position_embeddings - room, list(messages)
    while True:
        prompt, _ = chat.encode(tokenizer, kept, None)
        if len(prompt) <= limit:
            if len(kept) < len(messages):
                write(f"({len(messages) - len(kept)} earlier messages no longer fit and are left out)\n")
            return prompt
        if len(kept) - fixed <= 1:
            write(f"(this message has {len(prompt)} tokens; the model can read {max(0, limit)}. Write less.)\n")
            return None
        del kept[fixed]


class _Shown:
    """Writes the text of tokens as they come; a character whose bytes are not complete waits for the rest."""

    def __init__(self, tokenizer: Tokenizer, write: Callable[[str], None]):
        self._tokenizer, self._write, self._ids, self._written = tokenizer, write, [], 0

    def add(self, _sequence: int, token: int, _logprob: float) -> None:
        name = self._tokenizer.control_name(token)
        if name != chat.END and token != self._tokenizer.eos_id:
            self._ids.append(token)
            self._flush(self._text().rstrip("\ufffd"))

    def finish(self) -> None:
        self._flush(self._text())

    def _text(self) -> str:
        return self._tokenizer.decode(self._ids)

    def _flush(self, text: str) -> None:
        self._write(text[self._written :])
        self._written = max(self._written, len(text))

"""Every place where the kit reads what it did not write: any input gives a clean value or the error that is promised, no other.

Hypothesis chooses seeds, each of which becomes a batch of mutated inputs. `make test` gives every boundary a few seconds,
`make fuzz MINUTES=…` as long as wanted.
"""

import copy
import json
import math
import os
import random
import re
import time
from fractions import Fraction
from pathlib import Path

import mutate
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from k2lib import K2Config, llm
from k2lib.corpus.readers import LONGEST, read_corpus
from k2lib.corpus.tokenizer import CONTROL
from k2lib.gym import answers
from k2lib.llm import arguments, chat
from k2lib.model import hf
from k2lib.serving import wire
from k2lib.synth import judge

BATCH = 50  # inputs of one seed
SECONDS = float(os.environ.get("K2_FUZZ_SECONDS", "4"))  # for each boundary

CALL = {
    "id": "functions.get_weather:0",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city": "Oslo", "days": [1, 2.5]}'},
}
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
    {"role": "assistant", "content": "<think>Hm.</think>Let me look.", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": CALL["id"], "content": "sunny"},
]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
FIELDS = "role content tool_calls id function name arguments type text tool_call_id".split()


def template(rng, tokenizer, _folder):
    """A conversation renders and is read back, or is refused by ValueError (TypeError for what is no list of dicts)."""
    messages = mutate.tree(rng, TALK, FIELDS)
    if not (isinstance(messages, list) and all(isinstance(m, dict) for m in messages)):
        return
    tools = rng.choice((None, TOOLS))
    try:
        ids, trained = chat.encode(tokenizer, messages, tools)
    except (ValueError, UnicodeError):
        return
    assert len(ids) == len(trained)
    if messages and messages[-1].get("role") == "assistant":
        opened = [i for i, token in enumerate(ids) if token == tokenizer.encode_control(chat.MIDDLE)][-2]
        said = chat.parse_ids(ids[opened + 1 :], tokenizer)
        wanted = [c["id"] for c in messages[-1].get("tool_calls") or []]
        if not said.faults:
            assert [c["id"] for c in said.message.get("tool_calls", [])] == wanted


def parser(rng, tokenizer, _folder):
    """Any text and any ids give a message whose calls are sound."""
    written = chat.render(TALK[2:3], add_generation_prompt=False).split(chat.MIDDLE)[-1]
    words = [*CONTROL, "functions.a:0", '{"a": 1}']
    parsed = [chat.parse(mutate.text(rng, [written], words))]
    ids = tokenizer.encode(written) + [rng.randint(-3, tokenizer.vocab_size + 3) for _ in range(rng.randint(0, 9))]
    rng.shuffle(ids)
    parsed.append(chat.parse_ids(ids, tokenizer))
    for one in parsed:
        assert isinstance(one.message["content"], str) and all(isinstance(fault, str) for fault in one.faults)
        for call in one.message.get("tool_calls", []):
            value, reason = arguments.read(call["function"]["arguments"])
            assert reason is None and isinstance(value, dict)
            assert call["id"].startswith(f"functions.{call['function']['name']}:")


CONFIGS = [K2Config.preset(name).to_dict() for name in ("nano", "kimi-k2", "deepseek-v3")]


def configs(rng, _tokenizer, _folder):
    """A config is built, with finite numbers, or refused in one line."""
    given_ = mutate.tree(rng, rng.choice(CONFIGS), list(CONFIGS[1]))
    if not isinstance(given_, dict):
        return
    try:
        config = K2Config.from_dict(given_)
    except ValueError as error:
        assert "\n" not in str(error).replace("\\n", "")
        return
    assert math.isfinite(config.softmax_scale)
    again = K2Config.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config


def index(rng, _tokenizer, folder):
    """The index of a checkpoint names files of its folder, or is refused."""
    good = {"metadata": {"total_size": 1}, "weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    written = json.dumps(mutate.tree(rng, good, ["weight_map", "metadata", "..", "/etc/passwd", "a/b"]))
    if rng.random() < 0.3:
        written = mutate.text(rng, [written], ["../x", '"', "{", "}"])
    (folder / hf.INDEX).write_text(written, encoding="utf-8", errors="surrogatepass")
    try:
        files = hf._shard_files(folder)
    except ValueError:
        return
    assert all(Path(file).name == file and file not in ("", ".", "..") for file in files)


READABLE = {
    "a.txt": "One line.\nAnother line, longer.\n\n",
    "a.md": "# Title\n\ntext\n",
    "a.html": "<html><p>One &amp; two<br><script>x</script></p></html>",
    "a.jsonl": '{"text": "one"}\n{"content": "two"}\n',
}


def readers(rng, _tokenizer, folder):
    """A user's file gives text that can be encoded, or is refused by its name."""
    name = rng.choice(list(READABLE))
    file = folder / name
    data = mutate.text(rng, [READABLE[name]], ["<", ">", '"text"', "\r\n", "<style>"]).encode("utf-8", "surrogatepass")
    if rng.random() < 0.2:
        at = rng.randint(0, len(data))
        data = data[:at] + rng.randbytes(3) + data[at:]
    file.write_bytes(data)
    try:
        documents = list(read_corpus(file))
    except ValueError as error:
        assert str(file) in str(error)
        return
    for document in documents:
        document.text.encode()
        assert document.text.strip() and len(document.text) <= LONGEST
    if name in ("a.txt", "a.md"):
        assert "".join(d.text for d in documents).strip() == data.decode().strip()


REPLY = {
    "id": "x",
    "object": "chat.completion",
    "created": 0,
    "model": "served",
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "a<think>b</think>c", "tool_calls": [CALL]},
        }
    ],
}
REPLIES = ["choices", "message", "content", "tool_calls", "usage", "finish_reason", "model"]


def replies(rng, _tokenizer, _folder):
    """An endpoint's reply becomes a clean message, or a ChatError."""
    body = mutate.tree(rng, copy.deepcopy(REPLY), REPLIES)
    if isinstance(body, dict):
        body = ChatCompletion.construct(**body)  # as the client does: nothing is checked
    try:
        reply = llm.OpenAIChat("m", base_url="http://127.0.0.1:9/v1")._checked(body)
    except llm.ChatError:
        return
    assert isinstance(reply.message["content"], str) and "<think>" not in reply.message["content"]
    assert isinstance(reply.finish, str) and isinstance(reply.model, str)
    assert type(reply.usage.prompt_tokens) is int and type(reply.usage.completion_tokens) is int
    for call in reply.message.get("tool_calls", []):
        assert isinstance(call["id"], str) and isinstance(call["function"]["arguments"], str)


def answered(rng, _tokenizer, _folder):
    """Any text states a number that stands in it, or none."""
    words = ["7", "-", "−", "answer", "\\boxed{", "}", " or ", "²", "/", "and", "**", ",000"]
    said = mutate.text(rng, ["3 + 4 = 7. Answer: 7", "\\boxed{-7}", "It is 1,234."], words)
    value = answers.number(said)
    if value is not None:
        written = re.findall(r"\d+(?:\.\d+)?", said.replace(",", ""))
        assert abs(value) in [Fraction(one) for one in written if len(one) <= 2 * answers.DIGITS], said
    answers.begins(said, "It is")


REQUEST = {
    "model": "m",
    "messages": [{"role": "user", "content": "hi"}],
    "tools": [{"type": "function"}],
    "temperature": 0.5,
    "top_p": 0.9,
    "max_tokens": 5,
    "seed": 1,
    "stop": ["a"],
    "n": 2,
    "stream": True,
    "stream_options": {"include_usage": True},
}


def requests(rng, _tokenizer, _folder):
    """A request to the endpoint is read whole, or refused with HTTP's status."""
    try:
        asked = wire.read(mutate.tree(rng, copy.deepcopy(REQUEST), list(REQUEST)), "m")
    except wire.Refused as refused:
        assert refused.status in (400, 404) and refused.body()["error"]["message"]
        return
    assert asked.messages and all(isinstance(m, dict) for m in asked.messages)
    assert 0 <= asked.sampling.temperature <= 2 and 0 < asked.sampling.top_p <= 1 and 1 <= asked.choices <= 16
    assert asked.max_tokens is None or asked.max_tokens >= 1


def verdicts(rng, _tokenizer, _folder):
    """A judge's reply is a verdict with its reasons, or none."""
    words = ["{", "}", '"faithful"', ": true", ": false", '"reasons"', '["x"]', "[]", ",", "1e999", "\\ud800"]
    said = mutate.text(rng, ['{"faithful": false, "reasons": ["a"]}', 'So: {"faithful": true}'], words)
    try:
        found = judge._verdict(llm.Reply({"role": "assistant", "content": said}, "stop", llm.Usage(), "m"))
    except ValueError:
        return
    assert found.faithful == (not found.reasons) and all(r.startswith("judge: ") for r in found.reasons)


EVERY = (template, parser, configs, index, readers, replies, answered, requests, verdicts)
BOUNDARIES = {f.__name__: f for f in EVERY}


@pytest.mark.parametrize("name", BOUNDARIES)
def test_boundary(name, tiny_tokenizer, tmp_path, record_property):
    target, count, ends = BOUNDARIES[name], 0, time.monotonic() + SECONDS
    first = int(os.environ.get("K2_FUZZ_SEED", "0"))

    def batch(number):
        nonlocal count
        for at in range(BATCH):
            target(random.Random(f"{number}/{at}"), tiny_tokenizer, tmp_path)
            count += 1

    for part in range(1_000_000):
        how = settings(max_examples=100, deadline=None, database=None)
        how(seed(first + part)(given(st.integers(0, 2**63))(batch)))()
        if time.monotonic() > ends:
            break
    record_property("inputs", count)
    print(f"{name}: {count:,} inputs")

"""The leaderboard with a chat model: what counts as right, and what as wrong."""

import asyncio
import json

import pytest

from k2lib.evaluate import berkeley
from k2lib.evaluate.berkeley import asked
from k2lib.llm import chat
from k2lib.llm.local import Turn
from k2lib.llm.protocol import ChatError, Reply, Usage

NUMBER = {"type": "dict", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
TOOL = {"name": "double", "description": "Doubles.", "parameters": NUMBER}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "possible_answer").mkdir()
    rows = [
        {"id": str(i), "question": [[{"role": "user", "content": f"Double {i}."}]], "function": [TOOL]}
        for i in range(4)
    ]
    for name in ("simple_python", "irrelevance"):
        (tmp_path / f"BFCL_v4_{name}.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    answers = [{"id": str(i), "ground_truth": [{"double": {"n": [i]}}]} for i in range(4)]
    (tmp_path / "possible_answer" / "BFCL_v4_simple_python.json").write_text(
        "".join(json.dumps(a) + "\n" for a in answers)
    )
    return tmp_path


class Model:
    model = "a model"

    def __init__(self, answer):
        self.answer = answer

    async def complete(self, messages, *, tools=None, **_settings) -> Reply:
        assert tools[0]["function"]["name"] == "double"
        number = self.answer(int(messages[0]["content"].split()[1].rstrip(".")))
        if isinstance(number, Exception):
            raise number
        calls = [] if number is None else [{"function": {"name": "double", "arguments": json.dumps({"n": number})}}]
        return Reply({"role": "assistant", "content": "", "tool_calls": calls}, "stop", Usage(), self.model)


def score(answer, category: str, folder, number: int = 4) -> list[bool]:
    return asyncio.run(asked(Model(answer), category, number, folder=folder))


def test_one_right_call_is_right_and_no_call_where_none_helps(folder):
    assert score(lambda n: n, "simple_python", folder) == [True] * 4
    assert score(lambda n: n if n < 2 else 9, "simple_python", folder, 3) == [True, True, False]
    assert score(lambda n: n, "irrelevance", folder) == [False] * 4
    assert score(lambda n: None, "irrelevance", folder) == [True] * 4
    assert score(lambda n: None, "simple_python", folder) == [False] * 4


def test_a_question_that_does_not_fit_is_wrong_and_a_model_that_is_not_there_an_error(folder):
    assert score(lambda n: n if n else ChatError("too long"), "simple_python", folder) == [False, True, True, True]
    with pytest.raises(ChatError, match="gone"):
        score(lambda n: ChatError("gone"), "simple_python", folder)


class Config:
    max_position_embeddings = 2048


class Small:
    config = Config()


def sampled(monkeypatch, say) -> list[int]:
    """`sample_turns` writes `say(number)` of the question for the number; returns the sizes of its batches."""
    sizes = []

    def turns(model, tokenizer, prompts, *, budgets, tools=None):
        sizes.append(len(prompts))
        assert budgets == [berkeley.BUDGET] * len(prompts) and (tools is None or len(tools) == len(prompts))
        said = [say(int(tokenizer.decode(ids).split("Double ")[1].split(".")[0])) for ids in prompts]
        return [
            Turn([], [], True, chat.Parsed({"role": "assistant", "content": "", **message}, faults))
            for message, faults in said
        ]

    monkeypatch.setattr(berkeley, "sample_turns", turns)
    return sizes


def call(n: int) -> dict:
    return {"tool_calls": [{"function": {"name": "double", "arguments": json.dumps({"n": n})}}]}


def test_a_checkpoint_is_asked_many_at_a_time_and_judged_alike(folder, tiny_tokenizer, monkeypatch):
    monkeypatch.setattr(berkeley, "BATCH", 3)
    sizes = sampled(monkeypatch, lambda n: (call(n if n != 2 else 7), []))
    assert berkeley.of_checkpoint(Small(), tiny_tokenizer, "simple_python", 4, folder=folder) == [
        True,
        True,
        False,
        True,
    ]
    assert sizes == [3, 1]
    assert berkeley.of_checkpoint(Small(), tiny_tokenizer, "irrelevance", 4, folder=folder) == [False] * 4


def test_a_call_that_cannot_be_read_is_no_silence_and_what_does_not_fit_is_wrong(folder, tiny_tokenizer, monkeypatch):
    sampled(monkeypatch, lambda n: ({}, ["cut"] if n == 1 else []))
    ask = {"folder": folder, "enforced": True}
    assert berkeley.of_checkpoint(Small(), tiny_tokenizer, "irrelevance", 3, **ask) == [True, False, True]
    monkeypatch.setattr(Config, "max_position_embeddings", berkeley.BUDGET + 10)
    assert berkeley.of_checkpoint(Small(), tiny_tokenizer, "irrelevance", 3, **ask) == [False] * 3

"""The enforcer: whatever a model would say, its turn is one that the parser reads and the schema accepts."""

import json

import pytest
import torch

from k2lib import K2Config, K2Model
from k2lib.agents import tasks, trajectories
from k2lib.agents.tools import check_call, tool
from k2lib.llm import chat
from k2lib.llm.enforcer import Enforcer
from k2lib.llm.local import sample_turns
from k2lib.model.generate import sample
from k2lib.profiles import SMOKE

TOOLS = tasks.generate(1, seed=0)[0].application.specs
STRANGE = tool(
    "set-it",
    'Says "quotes" and \\ and <|im_end|>.',
    {
        "a name": {"type": "string", "enum": ['say "so"', "back\\slash", "<|im_end|>", "ü"]},
        "n": {"type": "integer"},
        "x": {"type": "number"},
        "on": {"type": "boolean"},
        "list": {"type": "array", "items": {"type": "string"}},
        "inner": {"type": "object", "properties": {"y": {"type": "null"}}, "required": ["y"]},
        "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
    },
)


@pytest.fixture(scope="module")
def model(tiny_tokenizer):
    torch.manual_seed(0)
    fields = SMOKE.model | {"vocab_size": tiny_tokenizer.vocab_size, "num_hidden_layers": 2}
    return K2Model(K2Config.preset("nano").replace(**fields)).eval()


def spoken(tokenizer, message: dict) -> list[int]:
    """The token ids that the assistant says."""
    ids, own = chat.encode(tokenizer, [{"role": "system", "content": ""}, message], add_generation_prompt=False)
    return [token for token, said in zip(ids, own, strict=True) if said]


def refused(tokenizer, tools: list[dict], ids: list[int]) -> int | None:
    """The place of the first token that is not allowed; None if all are."""
    turn = Enforcer(tokenizer).turn(tools)
    for at, token in enumerate(ids):
        if not turn.allowed()[token]:
            return at
        turn.take(token)
    return None


def call(name: str, arguments: object, number: int = 0) -> dict:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": f"functions.{name}:{number}", "type": "function", "function": {"name": name, "arguments": text}}


def test_every_turn_of_kept_conversations_is_allowed(tiny_tokenizer):
    kept, _ = trajectories.generate(60, seed=3)
    for t in kept:
        for message in (m for m in t.messages if m["role"] == "assistant"):
            assert refused(tiny_tokenizer, t.tools, spoken(tiny_tokenizer, message)) is None


def test_words_before_calls_and_calls_in_parallel_are_allowed(tiny_tokenizer):
    task = tasks.generate(1, seed=0)[0]
    name, arguments = task.reference[0]
    said = {"role": "assistant", "content": "Two at once.", "tool_calls": [call(name, arguments, i) for i in (0, 1)]}
    assert refused(tiny_tokenizer, task.application.specs, spoken(tiny_tokenizer, said)) is None


@pytest.mark.parametrize(
    "wrong", ["unknown tool", "not JSON", "wrong type", "missing", "unexpected", "no call in a section"]
)
def test_a_call_that_would_not_be_executed_cannot_be_said(tiny_tokenizer, wrong):
    task = next(t for t in tasks.generate(50, seed=0) if any(type(v) is int for v in t.reference[0][1].values()))
    name, arguments = task.reference[0]
    number = next(key for key, value in arguments.items() if type(value) is int)
    calls = {
        "unknown tool": call(f"{name}x", arguments),
        "not JSON": call(name, json.dumps(arguments)[:-1]),
        "wrong type": call(name, arguments | {number: "many"}),
        "missing": call(name, {key: value for key, value in arguments.items() if key != number}),
        "unexpected": call(name, arguments | {"more": 1}),
    }
    said = {"role": "assistant", "content": "", "tool_calls": [calls.get(wrong)]}
    ids = (
        spoken(tiny_tokenizer, said)
        if wrong in calls
        else [tiny_tokenizer.encode_control(c) for c in (chat.SECTION_BEGIN, chat.SECTION_END)]
    )
    assert refused(tiny_tokenizer, task.application.specs, ids) is not None


def test_a_turn_without_tools_is_text(tiny_tokenizer):
    assert (
        refused(tiny_tokenizer, [], spoken(tiny_tokenizer, {"role": "assistant", "content": "Hello, <|im_end|>!"}))
        is None
    )
    assert refused(tiny_tokenizer, [], [tiny_tokenizer.encode_control(chat.SECTION_BEGIN)]) == 0


@pytest.mark.parametrize("tools", [TOOLS, [STRANGE]], ids=["simple", "strange"])
def test_a_model_that_knows_nothing_makes_only_valid_calls(model, tiny_tokenizer, tools):
    begin, end = map(tiny_tokenizer.encode_control, (chat.SECTION_BEGIN, chat.END))
    prompts = [
        chat.encode(tiny_tokenizer, [{"role": "user", "content": f"Do {i}."}], tools)[0] + [begin] for i in range(24)
    ]
    turns = [Enforcer(tiny_tokenizer).turn(tools) for _ in prompts]
    for turn in turns:
        turn.take(begin)
    how = {"max_new_tokens": 300, "temperature": 1.5, "seed": 3, "stop_tokens": (end,)}
    held = [one.tokens for one in sample(model, prompts, constraints=turns, **how) if one.finish == "stop"]
    parsed = [chat.parse_ids([begin, *tokens], tiny_tokenizer) for tokens in held]
    assert len(held) >= 4 and [fault for one in parsed for fault in one.faults] == []
    calls = [c["function"] for one in parsed for c in one.message["tool_calls"]]
    assert all(check_call(c["name"], c["arguments"], tools)[0] is not None for c in calls)
    free = [one.tokens for one in sample(model, prompts, **how)]
    assert all(chat.parse_ids([begin, *tokens], tiny_tokenizer).faults for tokens in free)


def test_log_probabilities_stay_the_model_s_own(model, tiny_tokenizer):
    prompt, _ = chat.encode(tiny_tokenizer, [{"role": "user", "content": "Do."}], TOOLS)
    (turn,) = sample_turns(model, tiny_tokenizer, [prompt], budgets=[8], temperature=1.0, seed=1, tools=[TOOLS])
    whole = torch.tensor([prompt + turn.tokens])
    own = model.token_logprobs(whole)[0, len(prompt) - 1 :]
    assert torch.allclose(own, torch.tensor(turn.logprobs), atol=2e-2)


def test_a_schema_that_the_grammar_cannot_hold_is_refused_with_its_reason(tiny_tokenizer):
    with pytest.raises(ValueError, match="these tools cannot be enforced"):
        Enforcer(tiny_tokenizer).turn([tool("f", "", {"x": {"type": "string", "pattern": "(?=a)b"}})])

"""K2's chat format: the template, what is trained, and a parser that survives anything."""

import json
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2lib.corpus.tokenizer import CONTROL
from k2lib.llm import arguments, chat

CALL = {
    "id": "functions.get_weather:0",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'},
}
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}]
TALK = [
    {"role": "user", "content": "Weather?"},
    {"role": "assistant", "content": "Let me look.", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": CALL["id"], "content": "sunny"},
    {"role": "assistant", "content": "Sunny."},
]


def call_text(call_id="functions.f:0", arguments="{}"):
    return f"<|tool_call_begin|>{call_id}<|tool_call_argument_begin|>{arguments}<|tool_call_end|>"


def section(*calls):
    return "<|tool_calls_section_begin|>" + "".join(calls) + "<|tool_calls_section_end|>"


def test_the_released_template():
    assert chat.render(TALK, TOOLS) == (
        '<|im_system|>tool_declare<|im_middle|>[{"type":"function","function":{"name":"get_weather","parameters":'
        '{"type":"object","properties":{}}}}]<|im_end|>'
        "<|im_system|>system<|im_middle|>You are Kimi, an AI assistant created by Moonshot AI.<|im_end|>"
        "<|im_user|>user<|im_middle|>Weather?<|im_end|>"
        "<|im_assistant|>assistant<|im_middle|>Let me look.<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0"
        '<|tool_call_argument_begin|>{"city": "Oslo"}<|tool_call_end|><|tool_calls_section_end|><|im_end|>'
        "<|im_system|>tool<|im_middle|>## Return of functions.get_weather:0\nsunny<|im_end|>"
        "<|im_assistant|>assistant<|im_middle|>Sunny.<|im_end|><|im_assistant|>assistant<|im_middle|>"
    )
    assert chat.render(TALK, []) == chat.render(TALK, None)
    with pytest.raises(ValueError, match="'robot'"):
        chat.render([{"role": "robot", "content": ""}])


def test_only_the_assistant_is_trained_and_its_end_of_turn_is(tiny_tokenizer):
    ids, trained = chat.encode(tiny_tokenizer, TALK, TOOLS, add_generation_prompt=False)
    said = tiny_tokenizer.decode([i for i, t in zip(ids, trained, strict=True) if t])
    assert said == (
        "Let me look."
        + section(call_text("functions.get_weather:0", '{"city": "Oslo"}'))
        + "<|im_end|>Sunny.<|im_end|>"
    )
    assert tiny_tokenizer.decode(ids) == chat.render(TALK, TOOLS, add_generation_prompt=False)


def test_a_longer_conversation_begins_with_the_tokens_of_the_shorter(tiny_tokenizer):
    short, _ = chat.encode(tiny_tokenizer, TALK[:1], TOOLS)
    whole, _ = chat.encode(tiny_tokenizer, TALK, TOOLS)
    assert whole[: len(short)] == short


@given(pieces=st.lists(st.sampled_from([*"ab<|>_im end", *CONTROL]), max_size=30))
def test_no_text_can_write_a_control_token(tiny_tokenizer, pieces):
    text = "".join(pieces)
    clean = [{"role": "user", "content": "x"}, {"role": "tool", "tool_call_id": "y", "content": "z"}]
    dirty = [{"role": "user", "content": text}, {"role": "tool", "tool_call_id": text, "content": text}]
    count = [
        sum(tiny_tokenizer.control_name(i) is not None for i in chat.encode(tiny_tokenizer, m)[0])
        for m in (clean, dirty)
    ]
    assert count[0] == count[1]


def test_a_call_is_read_back(tiny_tokenizer):
    text = (
        "Look."
        + section(call_text("functions.get-weather:0", '{"city": "Oslo"}'), call_text("functions.b:1"))
        + "<|im_end|>junk"
    )
    parsed = chat.parse(text)
    assert parsed.faults == []
    assert parsed.message["content"] == "Look."
    assert [c["function"]["name"] for c in parsed.message["tool_calls"]] == ["get-weather", "b"]
    ids, _ = chat.encode(
        tiny_tokenizer, [{"role": "assistant", "content": "", "tool_calls": [CALL]}], add_generation_prompt=False
    )
    assert chat.parse_ids(
        ids[ids.index(tiny_tokenizer.encode_control("<|tool_calls_section_begin|>")) :], tiny_tokenizer
    ).message["tool_calls"] == [CALL]


def test_text_that_spells_a_call_is_not_one_when_ids_are_known(tiny_tokenizer):
    parsed = chat.parse_ids(tiny_tokenizer.encode(section(call_text())), tiny_tokenizer)
    assert "tool_calls" not in parsed.message
    assert parsed.message["content"] == section(call_text())


@pytest.mark.parametrize(
    "text, fault",
    [
        ("<|tool_calls_section_begin|>", "unclosed"),
        ("<|tool_calls_section_begin|><|tool_call_begin|>functions.f", "unclosed"),
        (section(call_text())[:-40], "unclosed"),
        (section("<|tool_call_begin|>a<|tool_call_begin|>b"), "malformed"),
        ("<|tool_call_end|>", "malformed"),
        (section(call_text("f:0")), "bad_id"),
        (section(call_text("functions_f_0")), "bad_id"),
        (section(call_text("functions.f:-1")), "bad_id"),
        (section(call_text("functions.../../etc/passwd:0")), "bad_id"),
        (section(call_text("functions.f:0", "")), "invalid_args"),
        (section(call_text("functions.f:0", "[1]")), "invalid_args"),
        (section(call_text("functions.f:0", '{"a": 1,}')), "invalid_args"),
        (section(call_text("functions.f:0", '{"a": 1, "a": 2}')), "twice"),
        (section(call_text("functions.f:0", '{"a": NaN}')), "NaN"),
        (section(call_text("functions.f:0", '{"a": 1e999}')), "too large"),
        (section(call_text("functions.f:0", '{"a": ' + "9" * 6000 + "}")), "too large"),
        (section(call_text("functions.f:0", '{"a": ' + "[" * 5000 + "]" * 5000 + "}")), "nested"),
        (section(call_text("functions.f:0", '{"a": "\\ud800"}')), "invalid_args"),
        (section(*[call_text(f"functions.f:{i}") for i in range(100)]), "too_many_calls"),
    ],
)
def test_hostile_output_gives_a_fault_and_no_exception(text, fault):
    parsed = chat.parse(text)
    assert any(fault in f for f in parsed.faults), parsed
    assert len(parsed.message.get("tool_calls", [])) in (0, arguments.MOST_CALLS)


def test_parsing_takes_linear_time():
    def seconds(n):
        begun = time.process_time()
        chat.parse("<|tool_calls_section_begin|>" + "<|tool_call_begin|>functions.f:0" * n)
        return time.process_time() - begun

    seconds(2000)
    assert seconds(40_000) < 60 * max(seconds(2000), 1e-3)


@settings(max_examples=200)
@given(
    pieces=st.lists(
        st.one_of(st.sampled_from(list(CONTROL)), st.text(max_size=8), st.just('{"a": 1}'), st.just("functions.f:0")),
        max_size=14,
    )
)
def test_any_sequence_of_pieces_is_parsed_and_what_is_returned_is_sound(pieces):
    parsed = chat.parse("".join(pieces))
    for call in parsed.message.get("tool_calls", []):
        assert isinstance(json.loads(call["function"]["arguments"]), dict)


@pytest.mark.parametrize(
    "message, words",
    [
        ({"role": "user", "content": 7}, "holds 'int'; this model reads text only"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, "holds 'image_url'"),
        ({"role": "user", "content": {"text": "x"}}, "holds 'dict'"),
        ({"role": "user", "name": 3, "content": ""}, "the name 3"),
        ({"role": "assistant", "content": "", "tool_calls": [CALL | {"id": "call_7"}]}, "to functions.get_weather:0"),
        ({"role": "assistant", "content": "", "tool_calls": [CALL | {"id": "functions.other:0"}]}, "functions.other:0"),
        ({"role": "assistant", "content": "", "tool_calls": [{"id": CALL["id"]}]}, "a tool call is"),
        ({"role": "assistant", "content": "", "tool_calls": ["x"]}, "a tool call is"),
    ],
)
def test_what_the_model_could_not_read_back_is_not_rendered(message, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        chat.render([message])


def test_lists_of_text_and_a_developers_message_are_rendered():
    said = [{"role": "developer", "content": ["Be ", {"type": "text", "text": "brief."}]}]
    assert chat.render(said, add_generation_prompt=False) == "<|im_system|>developer<|im_middle|>Be brief.<|im_end|>"


@pytest.mark.parametrize("token", [-1, 10**9, 2**70])
def test_an_id_that_there_is_not_is_a_fault(tiny_tokenizer, token):
    parsed = chat.parse_ids([*tiny_tokenizer.encode("a"), token, *tiny_tokenizer.encode("b")], tiny_tokenizer)
    assert parsed.message["content"] == "ab" and parsed.faults == [
        f"malformed: [no token {token}] while reading content"
    ]
    assert tiny_tokenizer.decode([token]) == f"[no token {token}]"


def test_a_call_inside_a_thought_is_no_call():
    parsed = chat.parse("<think>I could " + section(call_text()) + " but</think>No.")
    assert "tool_calls" not in parsed.message and parsed.faults[0].startswith("call_in_thought")
    assert "{}" in parsed.unread
    parsed = chat.parse("<think>I will</think>" + section(call_text()))
    assert parsed.faults == [] and len(parsed.message["tool_calls"]) == 1


@pytest.mark.parametrize("text", ["[" * 65, "{" * 65 + '\\"', "]" * 65, '\\\\" [['])
def test_brackets_inside_a_string_are_no_nesting(text):
    given = json.dumps({"a": "[" * 65 + text})
    assert arguments.read(given) == (json.loads(given), None)


def test_what_a_faulty_turn_said_is_kept():
    text = "Look." + section("between", call_text("functions.f:0", '{"a": 1,}'), "<|tool_call_begin|>functions.g:0")
    parsed = chat.parse(text)
    assert parsed.message == {"role": "assistant", "content": "Look."} and len(parsed.faults) >= 3
    assert all(piece in parsed.unread for piece in ("between", "functions.f:0", '{"a": 1,}', "functions.g:0"))

"""The parser, fed piece by piece, and the paper's own form of the template."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2lib.agents import trajectories
from k2lib.corpus.tokenizer import CONTROL
from k2lib.llm import chat, paper
from k2lib.llm.parser import Parser, TokenParser

KEPT, _ = trajectories.generate(60, seed=5)
TURNS = [message for t in KEPT for message in t.messages if message["role"] == "assistant"]
PIECES = st.lists(
    st.tuples(st.text(max_size=8), st.just(False)) | st.tuples(st.sampled_from(CONTROL), st.just(True)), max_size=30
)


def streamed(pieces) -> tuple:
    parser, events = Parser(), []
    for text, control in pieces:
        events += parser.feed(text, control)
    return parser.close(), events


@settings(max_examples=300, deadline=None)
@given(PIECES, st.randoms(use_true_random=False))
def test_a_turn_in_any_pieces_is_the_same_turn(pieces, rng):
    finer = []
    for text, control in pieces:
        cuts = [] if control else sorted(rng.sample(range(len(text) + 1), min(2, len(text))))
        parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        finer += [(part, control) for part in parts]
    merged: list[list] = []
    for text, control in pieces:
        if merged and not control and not merged[-1][1]:
            merged[-1][0] += text
        else:
            merged.append([text, control])
    (one, events), (other, _) = streamed(finer), streamed(merged)
    assert one == other
    assert "".join(event.text for event in events if event.kind == "content") == one.message["content"]
    assert [event.call for event in events if event.kind == "call"] == one.message.get("tool_calls", [])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 319), max_size=60))
def test_any_token_ids_one_by_one_give_what_they_give_at_once(tiny_tokenizer, ids):
    parser = TokenParser(tiny_tokenizer)
    for token in ids:
        parser.feed(token)
    assert parser.close() == chat.parse_ids(ids, tiny_tokenizer)


def test_kept_turns_come_back_token_by_token_and_calls_come_when_they_are_complete(tiny_tokenizer):
    opened = [{"role": "system", "content": ""}]
    before = len(chat.encode(tiny_tokenizer, opened)[0])
    for turn in [*TURNS, {"role": "assistant", "content": "Grüße, 世界 🦊!"}]:
        ids = chat.encode(tiny_tokenizer, [*opened, turn], add_generation_prompt=False)[0][before:]
        parser, events, at = TokenParser(tiny_tokenizer), [], []
        for place, token in enumerate(ids):
            for event in parser.feed(token):
                events.append(event)
                at.append(place)
        assert parser.close() == chat.Parsed(turn)
        for event, place in zip(events, at, strict=True):
            if event.kind == "call":
                assert ids[place] == tiny_tokenizer.encode_control(chat.CALL_END)
        assert "".join(event.text for event in events) == turn["content"]


def test_a_section_that_ends_within_a_call_makes_no_call():
    parser = Parser()
    for text, control in [
        (chat.SECTION_BEGIN, 1),
        (chat.CALL_BEGIN, 1),
        ("functions.f:0", 0),
        (chat.ARGUMENTS_BEGIN, 1),
        ("{}", 0),
    ]:
        assert parser.feed(text, bool(control)) == []
    (event,) = parser.feed(chat.SECTION_END, control=True)
    assert event.text == f"malformed: {chat.SECTION_END} while reading arguments"
    parsed = parser.close()
    assert "tool_calls" not in parsed.message and parsed.unread == "functions.f:0{}"


def test_what_follows_the_end_of_a_turn_is_no_part_of_it():
    parser = Parser()
    assert [e.text for e in parser.feed("so")] == ["so"] and parser.feed(chat.END, control=True) == []
    assert parser.ended and parser.feed("more") == [] and parser.close().message["content"] == "so"


@pytest.mark.parametrize("trajectory", KEPT[:20], ids=lambda t: t.task.id)
def test_the_papers_form_has_the_papers_tokens_and_is_read_back(trajectory):
    text = paper.render(trajectory.messages, trajectory.tools, add_generation_prompt=False)
    assert text.startswith("<|im_begin|>tool_declare<|im_middle|># Tools\n\nnamespace functions {")
    assert "<|im_system|>" not in text and "tool_calls_section" not in text and "## Return of" not in text
    turns = [m for m in trajectory.messages if m["role"] == "assistant"]
    said = [
        part.split("<|im_middle|>", 1)[1]
        for part in text.split("<|im_begin|>")
        if part.startswith("assistant<|im_middle|>")
    ]
    assert [paper.parse(one) for one in said] == [chat.Parsed(turn) for turn in turns]
    results = sum(m["role"] == "tool" for m in trajectory.messages)
    assert sum("## Results of functions." in part for part in text.split("<|im_begin|>")) == results


def test_a_call_in_the_released_form_is_text_to_the_papers_parser_and_the_other_way_round():
    turn = next(turn for turn in TURNS if turn.get("tool_calls"))
    prompt = [{"role": "user", "content": "x"}]
    released = chat.render([*prompt, turn], add_generation_prompt=False)[len(chat.render(prompt)) :]
    printed = paper.render([*prompt, turn], add_generation_prompt=False)[len(paper.render(prompt)) :]
    assert "tool_calls" not in paper.parse(released).message and "tool_calls" not in chat.parse(printed).message
    assert chat.SECTION_BEGIN in paper.parse(released).message["content"] + paper.parse(released).unread


def test_tools_are_declared_as_typescript():
    schema = {
        "type": "object",
        "required": ["city"],
        "properties": {
            "city": {"type": "string", "description": "Where."},
            "unit": {"type": "string", "enum": ["c", "f"]},
            "days": {"type": "array", "items": {"type": "integer"}},
            "at": {"type": "object", "properties": {"hour": {"anyOf": [{"type": "number"}, {"type": "null"}]}}},
        },
    }
    spec = {"type": "function", "function": {"name": "weather", "description": "Looks it up.", "parameters": schema}}
    assert paper.declare([spec]).splitlines() == [
        "# Tools", "", "namespace functions {", "// Looks it up.", "type weather = (_: {", "  // Where.", "  city: string,",
        '  unit?: "c" | "f",', "  days?: Array<number>,", "  at?: {", "    hour?: number | null,", "  },", "}) => any;", "}",
    ]  # fmt: skip
    assert json.dumps(spec) not in paper.render([{"role": "user", "content": "x"}], [spec])

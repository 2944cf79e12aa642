"""What transformers makes of our checkpoints: the same template, the same ids, the same answer."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, pipeline

from k2lib.config import K2Config
from k2lib.llm import chat
from k2lib.llm.local import sample_turns
from k2lib.model import K2Model
from k2lib.train import save_checkpoint

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
CALL = st.builds(
    lambda name, number, given: {
        "id": f"functions.{name}:{number}",
        "type": "function",
        "function": {"name": name, "arguments": given},
    },
    st.from_regex(r"[a-z_]{1,8}", fullmatch=True),
    st.integers(0, 99),
    st.one_of(TEXT, st.dictionaries(TEXT, st.one_of(st.integers(), TEXT, st.none()), max_size=3)),
)
PARTS = st.lists(st.one_of(TEXT, st.builds(lambda text: {"type": "text", "text": text}, TEXT)), max_size=3)
CONTENT = st.one_of(TEXT, PARTS, st.none())
MESSAGE = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "developer", "user"]), "content": CONTENT}),
    st.fixed_dictionaries({"role": st.just("tool"), "tool_call_id": TEXT, "content": CONTENT}),
    st.fixed_dictionaries(
        {"role": st.just("assistant"), "content": CONTENT}, optional={"tool_calls": st.lists(CALL, max_size=2)}
    ),
)
TOOLS = [{"type": "function", "function": {"name": "größe", "parameters": {"type": "object", "properties": {}}}}]


@pytest.fixture(scope="module")
def checkpoint(tiny_tokenizer, tmp_path_factory):
    config = K2Config.preset("nano").replace(vocab_size=tiny_tokenizer.vocab_size, num_hidden_layers=2)
    torch.manual_seed(0)
    model = K2Model(config).eval()
    return model, save_checkpoint(tmp_path_factory.mktemp("chat") / "model", model, tiny_tokenizer, {})


@pytest.fixture(scope="module")
def theirs(checkpoint):
    return AutoTokenizer.from_pretrained(checkpoint[1])


@settings(max_examples=150, deadline=None)
@given(messages=st.lists(MESSAGE, min_size=1, max_size=4), tools=st.sampled_from([None, TOOLS]), opened=st.booleans())
def test_the_template_that_is_saved_renders_what_we_render(theirs, messages, tools, opened):
    wanted = chat.render(messages, tools, opened)
    assert theirs.apply_chat_template(messages, tools=tools, tokenize=False, add_generation_prompt=opened) == wanted


def test_transformers_gives_text_and_control_tokens_our_ids(theirs, tiny_tokenizer):
    messages = [{"role": "user", "content": "Größe? 12345 \n\n  ok"}, {"role": "assistant", "content": "a  b"}]
    ids, _ = chat.encode(tiny_tokenizer, messages, TOOLS)
    assert theirs.apply_chat_template(messages, tools=TOOLS, add_generation_prompt=True)["input_ids"] == ids
    assert theirs.eos_token_id == tiny_tokenizer.encode_control(chat.END) and len(theirs) == tiny_tokenizer.vocab_size


def test_transformers_pipeline_answers_as_we_do(checkpoint, tiny_tokenizer):
    model, directory = checkpoint
    messages = [{"role": "user", "content": "hello"}]
    (turn,) = sample_turns(model.float(), tiny_tokenizer, [chat.encode(tiny_tokenizer, messages)[0]], budgets=[8])
    speak = pipeline("text-generation", model=str(directory))
    assert speak.model.generation_config.eos_token_id == [
        tiny_tokenizer.encode_control(chat.END),
        tiny_tokenizer.eos_id,
    ]
    answer = speak(messages, max_new_tokens=8, do_sample=False)[0]["generated_text"][-1]["content"]
    assert answer == tiny_tokenizer.decode(turn.tokens, control=False)

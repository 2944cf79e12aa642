"""The terminal conversation: streaming, commands, a conversation that outgrows the model, wrong directories."""

import pytest
import torch

from k2lib import K2Config, K2Model
from k2lib.llm import terminal
from k2lib.profiles import SMOKE


@pytest.fixture
def model(tiny_tokenizer):
    torch.manual_seed(0)
    fields = SMOKE.model | {"vocab_size": tiny_tokenizer.vocab_size, "num_hidden_layers": 2}
    return K2Model(K2Config.preset("nano").replace(**fields, max_position_embeddings=128)).eval()


def talk(model, tokenizer, lines, **options):
    lines, written = iter(lines), []

    def read(_prompt):
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    return terminal.converse(model, tokenizer, read=read, write=written.append, **options), "".join(written)


def test_what_is_streamed_is_the_answer(model, tiny_tokenizer):
    messages, written = talk(model, tiny_tokenizer, ["hello", "", "/exit", "never"], max_tokens=12, system="Be brief.")
    assert [m["role"] for m in messages] == ["system", "user", "assistant"]
    assert messages[-1]["content"] in written
    again, _ = talk(model, tiny_tokenizer, ["hello"], max_tokens=12, system="Be brief.")
    assert again == messages  # the end of the input ends it, and a seed repeats it


def test_clear_forgets_all_but_the_system_message(model, tiny_tokenizer):
    messages, _ = talk(model, tiny_tokenizer, ["one", "/clear"], max_tokens=4, system="Stay.")
    assert messages == [{"role": "system", "content": "Stay."}]


def test_a_conversation_that_outgrows_the_model_loses_its_oldest_turns_and_says_so(model, tiny_tokenizer):
    messages, written = talk(model, tiny_tokenizer, ["some words"] * 6, max_tokens=16)
    assert len(messages) == 12 and "no longer fit" in written
    _, written = talk(model, tiny_tokenizer, ["word " * 400], max_tokens=16)
    assert "Write less" in written


def test_half_a_character_waits_for_its_other_bytes(tiny_tokenizer):
    written = []
    shown = terminal._Shown(tiny_tokenizer, written.append)
    for token in tiny_tokenizer.encode("5 € ü"):
        shown.add(0, token, 0.0)
    shown.finish()
    assert "".join(written) == "5 € ü" and "\ufffd" not in "".join(written)


def test_a_tokenizer_of_another_checkpoint_is_refused(model, tiny_tokenizer, tmp_path):
    small = K2Model(model.config.replace(vocab_size=tiny_tokenizer.vocab_size // 2))
    small.save_pretrained(tmp_path)
    tiny_tokenizer.save(tmp_path)
    with pytest.raises(ValueError, match="not from the same checkpoint"):
        terminal.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        terminal.load(tmp_path / "nowhere")

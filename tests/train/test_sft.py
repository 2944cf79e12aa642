"""`k2 sft`: what it reads, what it refuses, what counts in the loss, and a run that was killed."""

import dataclasses
import json
import os
import signal
import subprocess
import sys

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
import torch
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

from k2lib import K2Config, K2Model
from k2lib.agents import trajectories
from k2lib.cli import main
from k2lib.llm import chat
from k2lib.profiles import SMOKE
from k2lib.train import Batch, load_checkpoint, save_checkpoint, sft
from k2lib.train.finetune import batches
from k2lib.train.sft import Settings, fine_tune, mixed, read, validation_loss

ROWS = [{"messages": t.messages, "tools": t.tools} for t in trajectories.generate(80, seed=3)[0]]
QUICK = Settings(steps=6, batch_size=2, seq_len=2048, lr=1e-3, warmup=2, validation=0.2)


@pytest.fixture(scope="module")
def source(tiny_tokenizer, tmp_path_factory):
    torch.manual_seed(0)
    fields = SMOKE.model | {
        "vocab_size": tiny_tokenizer.vocab_size,
        "num_hidden_layers": 2,
        "max_position_embeddings": 4096,
    }
    model = K2Model(K2Config.preset("nano").replace(**fields))
    return save_checkpoint(tmp_path_factory.mktemp("sft") / "base", model, tiny_tokenizer, {"stage": "test"})


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_rows_of_either_format_are_the_same_rows(tmp_path):
    flat = [{"messages": row["messages"], "tools": json.dumps(row["tools"]), "seed": 1} for row in ROWS]
    table = tmp_path / "a.parquet"
    names = ("role", "content", "tool_calls", "tool_call_id")
    full = [row | {"messages": [{n: m.get(n) for n in names} for m in row["messages"]]} for row in flat]
    parquet.write_table(arrow.Table.from_pylist(full), table)
    assert read(write(tmp_path / "a.jsonl", flat)) == read(write(tmp_path / "b.jsonl", ROWS)) == read(table) == ROWS


@pytest.mark.parametrize(
    "row, words",
    [
        ({}, "want an object with a list of messages"),
        ([], "want an object with a list of messages"),
        ({"messages": [5]}, "row 2"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "the role 'robot'"),
        ({"messages": [{"role": "user", "content": 5}]}, "reads text only"),
        ({"messages": [], "tools": "["}, "row 2"),
        ({"messages": [], "tools": 5}, "tools are int"),
        ({"messages": [{"role": "assistant", "content": "", "tool_calls": [{"id": "call_1"}]}]}, "a tool call is"),
    ],
)
def test_a_row_that_is_none_is_refused_with_its_number(tmp_path, row, words):
    with pytest.raises(ValueError, match=words) as error:
        read(write(tmp_path / "a.jsonl", [ROWS[0], row]))
    assert "a.jsonl, row 2" in str(error.value)


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"does not exist; give a \.jsonl or \.parquet"):
        read(tmp_path / "no.jsonl")
    (tmp_path / "a.csv").write_text("x")
    with pytest.raises(ValueError, match=r"ends in '\.csv'"):
        read(tmp_path / "a.csv")
    (tmp_path / "a.jsonl").write_text("")
    with pytest.raises(ValueError, match="holds no rows"):
        read(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").write_text('{"messages": []}\n{"mess\n')
    with pytest.raises(ValueError, match=r"a\.jsonl, row 2"):
        read(tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    "change, words",
    [
        ({"optimizer": "sgd"}, "unknown optimizer 'sgd'"),
        ({"steps": 0}, "steps is 0"),
        ({"mix": 1.0}, "mix is 1.0"),
        ({"mix": 0.5}, "give the texts that it is a share of"),
        ({"validation": -0.1}, "validation is -0.1"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"seq_len": 8}, "none of the .* training rows fits 8 tokens"),
        ({"batch_size": 500}, "cannot fill 500 sequences"),
    ],
)
def test_settings_that_make_no_sense_are_refused(source, tmp_path, change, words):
    with pytest.raises(ValueError, match=words):
        fine_tune(source, ROWS, tmp_path / "out", dataclasses.replace(QUICK, **change))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["muonclip", "adamw"])
def test_the_loss_on_held_out_rows_falls_and_the_split_depends_on_the_rows_alone(
    source, tmp_path, optimizer, monkeypatch
):
    monkeypatch.setenv("K2_DTYPE", "float32")
    told = fine_tune(source, ROWS, tmp_path / "out", dataclasses.replace(QUICK, optimizer=optimizer, lr=3e-3))
    assert told["validation"]["after"] < told["validation"]["before"] - 0.2
    assert 5 < told["validation_rows"] < 25 and told["rows"] + told["validation_rows"] == len(ROWS)
    again = fine_tune(source, ROWS[::-1], tmp_path / "again", dataclasses.replace(QUICK, optimizer=optimizer, steps=1))
    assert again["validation_rows"] == told["validation_rows"]
    assert again["validation"]["before"] == pytest.approx(told["validation"]["before"], rel=1e-5)
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["again", "out"]


@pytest.mark.slow
def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(source, tmp_path):
    whole = fine_tune(source, ROWS, tmp_path / "whole", QUICK)
    data = write(tmp_path / "rows.jsonl", ROWS)
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom k2lib.train import sft\nfrom k2lib.train.snapshot import Snapshot\n"
        "sft.EVERY_SECONDS, save, saved = 0.0, Snapshot.save, []\n"
        "def dying(self, *given):\n    save(self, *given)\n    saved.append(1)\n"
        "    if len(saved) == 3:\n        os.kill(os.getpid(), signal.SIGKILL)\n"
        "Snapshot.save = dying\n"
        f"sft.fine_tune(Path({str(source)!r}), sft.read(Path({str(data)!r})), Path({str(tmp_path / 'out')!r}), sft.{QUICK!r})\n"
    )
    assert subprocess.run([sys.executable, "-c", code], env=os.environ).returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob(".out.*.pt"))) == 1
    steps = []
    resumed = fine_tune(
        source, ROWS, tmp_path / "out", QUICK, progress=lambda items, what, total: steps.append(total) or items
    )
    assert steps == [3] and resumed == whole
    one, other = (load_checkpoint(tmp_path / name).model.state_dict() for name in ("whole", "out"))
    assert all(torch.equal(value, other[name]) for name, value in one.items()) and not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_a_checkpoint_that_transformers_has_written_is_fine_tuned_and_read_by_transformers(tiny_tokenizer, tmp_path):
    torch.manual_seed(0)
    config = DeepseekV3Config(
        **{name: SMOKE.model[name] for name in SMOKE.model if name != "vocab_size"},
        vocab_size=tiny_tokenizer.vocab_size,
        max_position_embeddings=4096,
        num_key_value_heads=4,
        first_k_dense_replace=1,
        n_group=1,
        topk_group=1,
        tie_word_embeddings=False,
    )
    foreign = DeepseekV3ForCausalLM(config)
    foreign.save_pretrained(tmp_path / "theirs")
    tiny_tokenizer.save(tmp_path / "theirs")
    told = fine_tune(tmp_path / "theirs", ROWS, tmp_path / "ours", QUICK)
    assert told["validation"]["after"] < told["validation"]["before"]
    ours = load_checkpoint(tmp_path / "ours").model
    theirs = DeepseekV3ForCausalLM.from_pretrained(tmp_path / "ours")
    ids = torch.arange(1, 40)[None]
    with torch.no_grad():
        ours, theirs, before = (model(ids) for model in (ours, theirs, foreign))
    torch.testing.assert_close(ours, theirs.logits, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(theirs.logits, before.logits, atol=0.1)


@pytest.mark.slow
def test_a_run_with_other_settings_does_not_take_up_what_a_stopped_one_left(source, tmp_path, monkeypatch):
    def stopped(items, _what, _total):
        yield from list(items)[:3]
        raise KeyboardInterrupt

    monkeypatch.setattr(sft, "EVERY_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        fine_tune(source, ROWS, tmp_path / "out", QUICK, progress=stopped)
    steps = []
    for change in ({"lr": 2e-3}, {"seed": 1}, {}):
        settings = dataclasses.replace(QUICK, **change)
        fine_tune(
            source, ROWS, tmp_path / "out", settings, progress=lambda items, _, total: steps.append(total) or items
        )
    assert steps == [6, 6, 3]


def test_text_makes_the_share_of_the_loss_that_was_asked_for(source, tiny_tokenizer):
    model = load_checkpoint(source).model
    rows = [
        (ids, own) for ids, own in (chat.encode(tiny_tokenizer, r["messages"], r["tools"], False) for r in ROWS[:8])
    ]
    plain = batches(rows, 2, 2048, 0, 0)
    windows = torch.randint(1, 250, (5, 2049))
    batch = next(mixed(plain, windows, 0.25, 0)(0))
    assert batch.tokens.shape == (3, 2048) and isinstance(batch, Batch)
    talk, text = batch.weights[:2].sum(), batch.weights[2:].sum()
    assert text / (talk + text) == pytest.approx(0.25)
    together = model.loss(*batch)
    apart = 0.75 * model.loss(*next(plain(0))) + 0.25 * model.loss(batch.tokens[2:], batch.targets[2:])
    torch.testing.assert_close(together, apart, atol=2e-3, rtol=1e-3)
    later = next(mixed(plain, windows, 0.25, 0)(3))
    steps = mixed(plain, windows, 0.25, 0)(0)
    assert torch.equal([next(steps) for _ in range(4)][3].tokens, later.tokens)


def test_the_validation_loss_is_over_trained_tokens_alone(source, tiny_tokenizer):
    model = load_checkpoint(source).model
    rows = [
        (ids, own) for ids, own in (chat.encode(tiny_tokenizer, r["messages"], r["tools"], False) for r in ROWS[:20])
    ]
    values = []
    for ids, own in rows:
        log_p = model.token_logprobs(torch.tensor([ids]))[0]
        values += [-value for value, said in zip(log_p.tolist(), own[1:], strict=True) if said]
    assert validation_loss(model, rows, 0) == pytest.approx(sum(values) / len(values), abs=2e-2)
    assert validation_loss(model, [], 0) is None


@pytest.mark.slow
def test_the_command_line_goes_from_synthesis_to_a_checkpoint_that_speaks(source, tmp_path, capsys):
    made = str(tmp_path / "made")
    assert main(["synth", "tools", made, "--categories", "2", "--per-domain", "1"]) == 0
    assert main(["synth", "tasks", made, "-n", "60"]) == 0
    assert main(["synth", "trajectories", made]) == 0
    assert main(["synth", "export", made, f"{made}/all.parquet"]) == 0
    (tmp_path / "text.txt").write_text("The ship sails to the harbour. " * 600)
    how = "--steps 2 --batch-size 2 --seq-len 2048 --validation 0.2 --mix 0.3".split()
    how += ["--corpus", str(tmp_path / "text.txt")]
    assert main(["sft", f"{made}/all.parquet", str(source), str(tmp_path / "tuned"), *how]) == 0
    assert "validation loss" in capsys.readouterr().out
    assert load_checkpoint(tmp_path / "tuned").training["size"]["mix"] == 0.3
    assert main(["sft", f"{made}/all.parquet", str(tmp_path / "nowhere"), str(tmp_path / "x")]) == 2
    assert main(["sft", f"{made}/all.parquet", str(source), str(tmp_path / "x"), "--mix", "0.1"]) == 2

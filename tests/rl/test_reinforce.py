"""`k2 rl`: a checkpoint and a family, or a user's rows and class, to a checkpoint; what is wrong is said before anything is played."""

import json

import pytest
import torch
from loopback import served

from k2lib.cli import main
from k2lib.cli import rl as cli
from k2lib.cli.main import parser
from k2lib.gym.families import FAMILIES, family, named, own, problems, read_rows
from k2lib.llm import chat
from k2lib.rl.curriculum import SAMPLING
from k2lib.rl.objective import OBJECTIVES
from k2lib.sandbox import unavailable
from k2lib.serving.engine import K2Engine
from k2lib.train import load_checkpoint, save_checkpoint

OWN = '''
class Echo:
    """Wants its word back."""

    def reset(self, word, **_row):
        self.word, self.heard = word, ""

    def say(self, text: str) -> str:
        """Says it aloud."""
        self.heard = text
        return "heard"

    def get_reward(self):
        return float(self.heard == self.word)


def short(completions, **_row):
    return [1.0 if len(one[-1]["content"]) % 2 else 0.0 for one in completions]
'''
QUICK = "--steps 2 --prompts 2 --samples 2 --candidates 8 --development 2 --heldout 4 --budget 12".split()


@pytest.fixture
def checkpoint(model, tiny_tokenizer, tmp_path):
    with torch.no_grad():
        model.lm_head.weight[tiny_tokenizer.encode_control(chat.END)] *= 4  # turns end
    save_checkpoint(tmp_path / "start", model, tiny_tokenizer, {})
    return tmp_path / "start"


@pytest.fixture
def rows(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"Say w{i}.", "word": f"w{i}"}) + "\n" for i in range(16)))
    return path


def test_a_family_is_trained_on(checkpoint, tmp_path, capsys):
    arguments = [
        "rl",
        str(checkpoint),
        str(tmp_path / "out"),
        "--family",
        "mathematics",
        "--family",
        "tool-use",
        *QUICK,
    ]
    assert main(arguments) == 0
    said, out = capsys.readouterr().out, load_checkpoint(tmp_path / "out")
    assert "after 2 iterations" in said and "held out, greedy" in said
    assert len(out.training["history"]) == 2 and out.training["kinds"] == ["mathematics"] * 2 + ["tool use"] * 2
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_that_the_command_names_is_played_and_trained_on(checkpoint, tmp_path, name):
    if name in ("coding", "repairs") and unavailable() is not None:
        pytest.skip(f"no sandbox works here: {unavailable()}")
    few = "--steps 1 --prompts 2 --samples 2 --candidates 3 --development 1 --heldout 1 --level 0 --lr 1e-2".split()
    assert main(["rl", str(checkpoint), str(tmp_path / "out"), "--family", name, *few]) == 0
    (step,) = load_checkpoint(tmp_path / "out").training["history"]
    assert (step["groups"], step["void"]) == (2, 0) and step["length"] > 0
    assert name in cli.FAMILIES.split(", ")


def test_another_objective_a_new_optimizer_and_an_early_stop_are_options(checkpoint, tmp_path):
    how = "--objective grpo --reset --patience 1 --sampling curriculum --steps 9 --lr 1e-9".split()
    out = tmp_path / "out"
    assert main(["rl", str(checkpoint), str(out), "--family", "mathematics", *QUICK, *how]) == 0
    told = load_checkpoint(out).training
    assert [told["size"][name] for name in ("objective", "reset", "sampling")] == ["grpo", True, "curriculum"]
    # written out in the command, which loads no PyTorch to show its help
    assert set(cli.OBJECTIVES) == set(OBJECTIVES) and cli.SAMPLING == SAMPLING
    assert len(told["history"]) < 9  # with such a rate no later model is better than the first


def test_an_endpoint_plays_the_iterations(checkpoint, tmp_path, capsys):
    arguments = ["rl", str(checkpoint), str(tmp_path / "out"), "--family", "mathematics", *QUICK, "--base-url"]
    with served(K2Engine(checkpoint, "tiny"), weights=tmp_path) as url:
        assert main([*arguments, url]) == 0
    history = load_checkpoint(tmp_path / "out").training["history"]
    assert [step["void"] for step in history] == [0, 0] and all(step["mismatch"] < 1e-2 for step in history)
    assert main([*arguments, url]) == 2 and "lists no model" in capsys.readouterr().err  # it is gone


@pytest.mark.parametrize("with_class", [True, False])
def test_a_users_rows_are_played_in_their_class_and_scored_by_their_function(checkpoint, rows, tmp_path, with_class):
    place = tmp_path / "own.py"
    scored = ["--environment", f"{place}:Echo"] if with_class else ["--reward", f"{place}:short"]
    assert main(["rl", str(checkpoint), str(tmp_path / "out"), "--rows", str(rows), *scored, *QUICK]) == 0
    assert load_checkpoint(tmp_path / "out").training["kinds"] == ["Echo" if with_class else "short"] * 2


def test_rows_with_an_environment_name_its_tools(rows, tmp_path):
    problems = own(read_rows(rows), f"{tmp_path / 'own.py'}:Echo", [])
    assert len(problems) == 16 and problems[3].tools[0]["function"]["name"] == "say"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give either --family or --rows"),
        (["--family", "chess"], "unknown family 'chess'; choose one of mathematics, puzzles"),
        (["--rows", "{rows}"], "nothing scores this task"),
        (["--rows", "{rows}", "--environment", "{own}:Nobody"], "has no class or function 'Nobody'"),
        (["--rows", "{rows}", "--reward", "nowhere.py:x"], "names no Python file"),
        (
            ["--family", "mathematics", "--candidates", "3"],
            "3 problems are fewer than 2 of the development split and 2",
        ),
        (["--rows", "{own}", "--environment", "{own}:Echo"], "line 1: "),
    ],
)
def test_what_is_wrong_is_said(checkpoint, rows, tmp_path, capsys, arguments, said):
    given = [one.format(rows=rows, own=tmp_path / "own.py") for one in arguments]
    assert main(["rl", str(checkpoint), str(tmp_path / "out"), *QUICK, *given]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_no_question_is_held_out_twice():
    asked = ["--family", "morse", "--level", "0", "--heldout", "64", "--candidates", "8"]
    _, heldout = cli._problems(parser().parse_args(["rl", "start", "out", *asked]))
    questions = [str(one.messages) for one in heldout]
    assert len(problems("morse", 64, 0, "test", 0)) == 64 > len(questions) == len(set(questions))


def test_names_and_families_are_looked_up():
    with pytest.raises(ValueError, match="unknown family"):
        family("nothing")
    with pytest.raises(ValueError, match="names no Python file"):
        named("k2lib.gym:x")

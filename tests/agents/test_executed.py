"""Tasks on real tools: how they are judged, with a server of a few lines; and the interpreter in the sandbox."""

import asyncio
import json

import pytest

from k2lib import sandbox
from k2lib.agents import executed, forms, production
from k2lib.agents.executed import RUN_PYTHON, ScriptedToolAgent, play, run_python
from k2lib.agents.simulator import ToolResult
from k2lib.agents.tools import tool
from k2lib.cli import main
from k2lib.llm.protocol import Reply, Usage

working = pytest.mark.skipif(sandbox.unavailable() is not None, reason=str(sandbox.unavailable()))
TEXT = {"type": "string"}
SPECS = [
    tool("read_text_file", "", {"path": TEXT}),
    tool("write_file", "", {"path": TEXT, "content": TEXT}),
    tool("move_file", "", {"source": TEXT, "destination": TEXT}),
]


class Folder:
    """Files in memory, called as a server is."""

    def __init__(self):
        self.files = {}

    async def __call__(self, name: str, arguments: str) -> ToolResult:
        given = json.loads(arguments)
        try:
            if name == "write_file":
                self.files[given["path"]] = given["content"]
            elif name == "move_file":
                self.files[given["destination"]] = self.files.pop(given["source"])
            else:
                return ToolResult(self.files[given["path"]], True)
        except KeyError:
            return ToolResult("no such file", False)
        return ToolResult("done", True)


class Agent:
    """Says one thing after another; a pair is a call, a text is told."""

    model = "an agent"

    def __init__(self, *turns):
        self.turns = list(turns)

    async def complete(self, _messages, **_settings) -> Reply:
        said = self.turns.pop(0)
        if isinstance(said, str):
            return Reply({"role": "assistant", "content": said}, "stop", Usage(), self.model)
        function = {"name": said[0], "arguments": said[1] if isinstance(said[1], str) else json.dumps(said[1])}
        return Reply(
            {"role": "assistant", "content": "", "tool_calls": [{"function": function}]}, "stop", Usage(), self.model
        )


WRITE, READ, MOVE = forms.wishes("files", 3, seed=0)


def verdict(wish, *turns) -> list[str]:
    return asyncio.run(play(wish, Agent(*turns), Folder(), SPECS))["verdict"]["reasons"]


def test_what_the_user_wanted_is_asked_of_the_server_afterwards():
    path, word = WRITE.slots["path"], WRITE.slots["word"]
    assert verdict(WRITE, ("write_file", {"path": path, "content": word}), "Done.") == []
    wrong = ["the final state is not the wanted one"]
    assert verdict(WRITE, ("write_file", {"path": path, "content": f"{word}x"}), "Done.") == wrong
    assert verdict(WRITE, ("write_file", {"path": "other", "content": word}), "Done.") == wrong
    assert "an expected tool was not used with success" in verdict(WRITE, "Done.")
    assert verdict(WRITE, *[("write_file", {"path": path, "content": word})] * 5, "Done.") == [
        "far more calls than needed"
    ]
    endless = [("write_file", {"path": path, "content": word})] * executed.MOST_TURNS
    assert "the conversation did not end with a message to the user" in verdict(WRITE, *endless)


def test_what_the_user_wanted_to_know_must_be_told():
    look, word = ("read_text_file", {"path": READ.slots["path"]}), READ.slots["word"]
    assert verdict(READ, look, f"It says {word}.") == []
    assert verdict(READ, look, f"It says {word}x.") == ["the answer was not reported"]
    assert verdict(READ, f"It says {word}.") == ["an expected tool was not used with success"]


@pytest.mark.parametrize(
    "call", [("rm", {}), ("write_file", "{"), ("write_file", {"path": 5}), ("read_text_file", {"path": "nowhere"})]
)
def test_a_call_that_fails_may_be_followed_by_one_that_does_not(call):
    good = ("move_file", {"source": MOVE.slots["path"], "destination": MOVE.slots["other"]})
    assert verdict(MOVE, call, good, "Done.") == []
    assert verdict(MOVE, call, "Done.") == [
        "an expected tool was not used with success",
        "the final state is not the wanted one",
    ]


def test_the_scripted_agent_reads_sentences_and_says_when_it_cannot():
    for wish in forms.wishes("files", 12, seed=1):
        row = asyncio.run(play(wish, ScriptedToolAgent(), Folder(), SPECS))
        assert row["verdict"]["passed"] and row["roles"]["tools"] == "executed: files"
        assert [m["role"] for m in row["messages"]] == ["system", "user", "assistant", "tool", "assistant"]
    assert (
        "cannot"
        in asyncio.run(play(forms.wishes("git", 1, 0)[0], ScriptedToolAgent(), Folder(), SPECS))["messages"][-1][
            "content"
        ]
    )


def test_a_server_that_cannot_be_prepared_is_no_verdict():
    async def broken(_name, _arguments):
        return ToolResult("disk full", False)

    with pytest.raises(RuntimeError, match="the server files could not be prepared by write_file: disk full"):
        asyncio.run(play(READ, Agent(), broken, SPECS))


def test_the_answers_are_worked_out_without_the_tool():
    made = forms.wishes("python", 40, seed=2)
    for wish in made:
        number, factor = int(wish.slots["number"]), int(wish.slots["factor"])
        assert wish.report in (str(number * factor), str(len(wish.slots["word"])))
    at = next(w for w in forms.wishes("time", 30, 0) if w.slots["hour"] == "20:00")
    assert at.report in ("03:00", "04:00")  # in summer, in winter
    assert len({w.slots["word"] for w in made}) == 40
    with pytest.raises(ValueError, match="no tasks for the server 'mail'; known are files"):
        forms.wishes("mail", 1, 0)


@working
@pytest.mark.slow
def test_the_interpreter_is_executed_and_its_row_lies_beside_the_simulated_ones(tmp_path, capsys):
    folder = tmp_path / "made"
    assert main(["synth", "executed", str(folder), "--server", "python", "-n", "4"]) == 0
    rows = list(production.rows(folder))
    assert len(rows) == 4 and {row["domain"] for row in rows} == {"python"}
    before = (folder / "accepted" / "executed-python.jsonl").stat().st_mtime_ns
    assert main(["synth", "executed", str(folder), "--server", "python", "-n", "4"]) == 0
    assert (folder / "accepted" / "executed-python.jsonl").stat().st_mtime_ns == before
    assert main(["synth", "executed", str(folder), "--server", "python", "-n", "5"]) == 0
    assert len(list(production.rows(folder))) == 5
    assert main(["synth", "page", str(folder)]) == 0 and main(["synth", "stats", str(folder)]) == 0
    assert "tools: executed: python" in capsys.readouterr().out


@working
@pytest.mark.slow
def test_a_program_of_a_model_runs_in_the_sandbox_alone():
    said = asyncio.run(
        run_python("run_python", json.dumps({"code": "import os; print(os.listdir('/root'), os.environ)"}))
    )
    assert not said.ok and said.content.startswith("error")
    assert asyncio.run(run_python("run_python", '{"code": "while True: pass"}')).content.startswith("error: timeout")
    assert not asyncio.run(run_python("rm", "{}")).ok and RUN_PYTHON["function"]["name"] == "run_python"

"""Tools of real servers: imported as K2 would be told of them, executed in the sandbox."""

import asyncio
import json
import tempfile
from pathlib import Path

import pytest

from k2lib import sandbox
from k2lib.agents import production, servers, session
from k2lib.agents.executed import ScriptedToolAgent
from k2lib.agents.forms import wishes
from k2lib.agents.servers import PACKAGES, Server, known
from k2lib.agents.session import opened
from k2lib.agents.tools import lint
from k2lib.cli.main import main
from k2lib.llm.protocol import Reply, Usage
from k2lib.sandbox import languages

pytest.importorskip("mcp")
pytestmark = pytest.mark.skipif(sandbox.unavailable() is not None, reason=str(sandbox.unavailable()))
CODE = (Path(__file__).parent / "talking.py").read_text()


def talking(*how: str) -> Server:
    return Server("talking", (*languages.find("python").command, "-c", CODE, *how))


@pytest.fixture
def open_folder():
    """One that anybody may read, which pytest's are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def played(server, *calls):
    """What a server said of itself, and the answers to calls."""

    async def play():
        async with opened(server) as at:
            return at.imported, [
                await at.call(name, given if isinstance(given, str) else json.dumps(given)) for name, given in calls
            ]

    return asyncio.run(play())


def test_tools_are_imported_as_a_served_model_would_be_told_of_them():
    imported, _ = played(talking())
    assert imported.version == "talking 1" and all(lint(spec) == [] for spec in imported.specs)
    note = imported.specs[0]["function"]["parameters"]
    assert note["properties"]["text"] == {"type": "string", "description": "(at least 1 characters)"}
    assert note["properties"]["mood"] == {"type": "string", "enum": ["glad", "sad"]}
    assert [spec["function"]["name"] for spec in imported.specs] == ["note", "notes", "read"]
    assert "name 'no good name!' must be" in imported.refused["no good name!"][0]


def test_calls_are_executed_and_what_they_did_lasts():
    _, (first, second, all_) = played(talking(), ("note", {"text": "π"}), ("note", {"text": "b"}), ("notes", {}))
    assert (first.content, second.ok, all_.content) == ("kept", True, "\\x1b[31mπ | b")
    assert played(talking(), ("notes", {}))[1][0].content == "\\x1b[31m"


@pytest.mark.parametrize(
    "call", [("gone", {}), ("note", {}), ("note", "[" * 99_999), ("note", {"text": 1}), (None, None)]
)
def test_a_call_that_no_tool_accepts_never_reaches_the_server(call):
    name, given = call
    _, (answer, kept) = played(talking(), (name, given if given is not None else "x"), ("notes", {}))
    assert not answer.ok and "error" in json.loads(answer.content)
    assert kept.content == "\\x1b[31m"


def test_a_server_sees_no_file_of_the_host():
    _, (answer,) = played(talking(), ("read", {"path": "/etc/passwd"}))
    assert not answer.ok and "No such file" in answer.content


def test_a_long_answer_is_cut():
    _, (answer,) = played(talking("chatty"), ("notes", {}))
    assert len(answer.content) == session.LONGEST_RESULT


def test_a_server_that_does_not_start_says_why():
    with pytest.raises(sandbox.SandboxError, match=r"the server talking did not answer .*this server cannot start"):
        played(talking("bad"))


def test_a_silent_server_is_given_up(monkeypatch):
    monkeypatch.setattr(session, "PATIENCE", 0.5)
    with pytest.raises(sandbox.SandboxError, match="did not answer"):
        played(talking("silent"))


def test_an_error_of_who_uses_a_session_is_its_own():
    async def play():
        async with opened(talking()):
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        asyncio.run(play())


CALLS = {
    "git": ("git_log", {"repo_path": "."}, "Begin"),
    "time": (
        "convert_time",
        {"source_timezone": "UTC", "time": "10:00", "target_timezone": "Asia/Tokyo"},
        "T19:00:00+09:00",
    ),
    "sqlite": ("create_table", {"query": "create table t (x int)"}, "created"),
    "files": ("read_text_file", {"path": "notes/today.txt"}, "Buy milk."),
    "memory": ("read_graph", {}, "entities"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PACKAGES)
def test_a_public_server_is_imported_and_executed(name, open_folder, monkeypatch):
    monkeypatch.setattr(servers.places, "artifacts", lambda: open_folder)
    try:
        server = known(name)
    except RuntimeError as why:
        pytest.skip(str(why))
    tool, given, said = CALLS[name]
    imported, (answer,) = played(server, (tool, given))
    assert len(imported.specs) > 1 and not imported.refused
    assert answer.ok and said in answer.content
    done, claimed = (
        asyncio.run(production.on_server(name, wishes(name, 6, 0), agent)) for agent in (ScriptedToolAgent(), Liar())
    )
    assert [row["verdict"]["reasons"] for row in done if not row["verdict"]["passed"]] == []
    assert not any(row["verdict"]["passed"] for row in claimed)


class Liar:
    """An agent that never calls and always says that it is done."""

    model = "liar"

    async def complete(self, _messages, **_settings) -> Reply:
        return Reply({"role": "assistant", "content": "Done."}, "stop", Usage(), self.model)


def test_the_command_line_writes_a_servers_tools(open_folder, tmp_path, capsys):
    (open_folder / "talking.py").write_text(CODE)
    line = f"{languages.find('python').command[0]} {open_folder}/talking.py"
    out = tmp_path / "out.json"
    assert main(["tools", "import", "mine", "--command", line, "--folder", str(open_folder), "--out", str(out)]) == 0
    assert "talking 1: 3 tools" in capsys.readouterr().out
    assert len(json.loads(out.read_text())["specs"]) == 3
    assert main(["tools", "import", "nothing"]) == 2
    assert main(["tools", "list"]) == 0 and "sqlite" in capsys.readouterr().out


def test_an_unknown_server_is_refused():
    with pytest.raises(ValueError, match="unknown server 'mail'; known are git, time"):
        known("mail")


def test_a_failed_fetch_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(servers.places, "artifacts", lambda: tmp_path)
    monkeypatch.setitem(PACKAGES, "gone", servers.Package("", ("no-such-package-of-k2==0",), ("bin/gone",)))
    with pytest.raises(RuntimeError, match="no-such-package-of-k2==0 could not be fetched"):
        known("gone")
    assert list((tmp_path / "servers").iterdir()) == [] and not servers.have("gone")

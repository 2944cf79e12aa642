"""A task in a repository: repaired by an agent's calls, judged by cases it never saw."""

import asyncio
import json

import pytest

from k2lib import sandbox
from k2lib.agents import production
from k2lib.agents.repository import EDIT, READ, RUN, Attempt, Workspace, attempt, judged, load
from k2lib.llm import chat
from k2lib.llm.protocol import Reply, Usage

works = pytest.mark.skipif(sandbox.unavailable() is not None, reason=str(sandbox.unavailable()))
TASK = load("ledger")
DRIFT = "        self.accounts[receiver] += cents\n"
MOVED = [(EDIT, {"path": "ledger/book.py", "old": DRIFT, "new": ""})]
MOVED += [(EDIT, {"path": "ledger/book.py", "old": "[payer] -= cents\n", "new": "[payer] -= cents\n" + DRIFT})]
SHOWN = {"path": "ledger/money.py", "old": "str(cents / 100)", "new": 'f"{cents // 100}.{cents % 100:02}"'}
TEST = (RUN, {"command": "python3 -m unittest tests.test_transfer"})


class Played:
    """A model whose turns are written down."""

    model = "played"

    def __init__(self, *turns: list[tuple[str, dict]]):
        self.turns, self.seen = list(turns), []

    async def complete(self, messages, *, tools=None, temperature=0.0, max_tokens=512, seed=None) -> Reply:
        self.seen = [m["content"] for m in messages]
        calls = self.turns.pop(0) if self.turns else []
        made = [{"function": {"name": name, "arguments": json.dumps(given)}} for name, given in calls]
        message = {"role": "assistant", "content": "" if calls else "Done.", **({"tool_calls": made} if made else {})}
        return Reply(message, "tool_calls" if calls else "stop", Usage(), self.model)


def play(*turns):
    model = Played(*turns)
    return asyncio.run(attempt(TASK, model)), model


@works
def test_an_agent_reads_runs_repairs_and_passes():
    done, model = play(
        [(READ, {"path": "."})], [TEST], [(READ, {"path": "ledger/book.py"})], MOVED, [(EDIT, SHOWN)], [TEST]
    )
    answers = [m["content"] for m in done.messages if m["role"] == "tool"]
    assert "ledger/money.py" in answers[0]
    assert answers[1].startswith("error, exit code 1") and "FAILED" in answers[1]
    assert "  20 " in answers[2] and DRIFT.strip() in answers[2]
    assert answers[-1].startswith("ok, exit code 0") and "OK" in answers[-1]
    assert done.grade.passed and done.grade.share == 1
    assert not any(case.expected in text for case in TASK.cases for text in model.seen)


@works
def test_the_visible_test_is_not_all_that_is_asked():
    done, _ = play(MOVED, [TEST])
    assert done.messages[-2]["content"].startswith("ok")
    assert done.grade.passed is False and 0 < done.grade.share < 1


@works
def test_a_test_made_to_pass_repairs_nothing():
    gone = "import os; os._exit(0)\n"
    cheats = [(EDIT, {"path": "tests/test_transfer.py", "old": "self.assertEqual", "new": "print"})]
    cheats += [
        (EDIT, {"path": name, "old": "", "new": gone}) for name in ("conftest.py", "sitecustomize.py", "runpy.py")
    ]
    done, _ = play(cheats)
    assert done.grade.why == judged(TASK, TASK.files).why
    assert set(done.grade.why) == {"right", "wrong output"}


@works
def test_what_a_command_does_to_the_files_stays_in_the_sandbox():
    space = Workspace(TASK.files)
    assert space.call(RUN, json.dumps({"command": "rm -r ledger tests; ls; echo x > /usr/x"})).content.startswith(
        "error"
    )
    assert space.files == TASK.files


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("delete", "{}", "unknown tool"),
        (READ, "{}", "path"),
        (READ, '{"path": "/etc/passwd"}', "no file '/etc/passwd'"),
        (READ, '{"path": "../../etc"}', "no file"),
        (EDIT, '{"path": "ledger/book.py", "old": "self", "new": "x"}', "times"),
        (EDIT, '{"path": "ledger/book.py", "old": "", "new": "x"}', "exists"),
        (EDIT, '{"path": "../x", "old": "", "new": "x"}', "relative path"),
        (EDIT, '{"path": "program.py", "old": "", "new": "x"}', "program itself"),
        (EDIT, "[" * 100_000, "nested deeper"),
        (EDIT, '{"path": "ledger", "old": "", "new": "x"}', "is a file, and the folder of"),
        (EDIT, '{"path": "ledger/book.py/x", "old": "", "new": "x"}', "is a file, and the folder of"),
    ],
)
def test_a_call_that_cannot_be_done_is_answered(name, arguments, said):
    space = Workspace(TASK.files)
    answer = space.call(name, arguments)
    assert not answer.ok and said in answer.content and space.files == TASK.files


def test_where_no_sandbox_works_the_attempt_is_void(monkeypatch):
    def fails(*_, **__):
        raise sandbox.SandboxError("gone")

    monkeypatch.setattr("k2lib.agents.repository.run", fails)
    done, _ = play([TEST])
    assert done.grade.passed is None and set(done.grade.why) == {"void"}


@works
def test_attempts_become_rows_beside_the_other_conversations(tmp_path, monkeypatch):
    """One that passes, one that leaves the issue as it was; what `k2 synth` exports of them reads like any other row."""
    agents = iter([Played(MOVED, [(EDIT, SHOWN)], [TEST]), Played([(READ, {"path": "nowhere"})])])

    class Changing(Played):
        async def complete(self, messages, **settings) -> Reply:
            if len(messages) == 2:
                self.now = next(agents)
            return await self.now.complete(messages, **settings)

    monkeypatch.setattr(production, "open_model", lambda _: Changing())
    counts = production.make_executed(tmp_path, ["repository"], 2, 5, production.Spoken("played"))
    assert counts == {"accepted": 1, "rejected": 1}
    (good,), (bad,) = (list(production.rows(tmp_path, kind)) for kind in production.KINDS)
    assert good["verdict"] == {"passed": True, "reasons": [], "checkpoints": [True] * len(TASK.cases)}
    assert good["state"] == ["changed ledger/book.py", "changed ledger/money.py"]
    assert (
        bad["outcomes"] == ["refused"]
        and bad["state"] == []
        and bad["verdict"]["reasons"][0].startswith("hidden case 1: ")
    )
    assert (good["task_id"], bad["task_id"]) == ("repository-ledger-5", "repository-ledger-6")
    assert good["roles"]["agent"] == "played" and good["roles"]["judge"] == "hidden cases"
    assert chat.render(good["messages"], good["tools"])
    again = production.make_executed(tmp_path, ["repository"], 2, 5, production.Spoken("played"))
    assert again == counts  # not played again: there is no third agent


def test_the_scripted_agent_is_not_sent_to_repair(tmp_path):
    with pytest.raises(ValueError, match="cannot program"):
        production.make_executed(tmp_path, ["repository"], 1, 0)


@works
def test_a_void_attempt_is_no_row(monkeypatch):
    monkeypatch.setattr(production.repository, "attempt", void)
    assert asyncio.run(production.on_repository(2, 0, Played())) == []


async def void(task, agent, seed):
    return Attempt([], task.files, sandbox.Grade(None, None, ("void",)))

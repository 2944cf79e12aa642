"""Small repositories: the fault shows, its repair passes, and nothing else does."""

import json

import pytest

from k2lib.gym.outcome import outcome
from k2lib.gym.repairs import repairs
from k2lib.sandbox import SandboxError, unavailable

pytestmark = pytest.mark.skipif(unavailable() is not None, reason="no sandbox works here")
ONE = repairs(1, 0, level=1)[0]


def call(name, **arguments):
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"role": "assistant", "content": "", "tool_calls": [{"id": "x", "type": "function", "function": function}]}


def played(*messages):
    episode = ONE.episode()
    for message in (*messages, {"role": "assistant", "content": "I repaired it."}):
        episode.step(message, [])
    assert episode.over
    return episode


def test_a_repair_passes_and_a_claim_does_not():
    assert ONE.demonstration()["verdict"]["passed"]
    assert outcome(played()).status == "fail"


def test_an_agent_may_look_and_run_before_it_edits():
    episode = played(call("read_file", path="."), call("run", command="echo '4 -3 2' | python3 main.py"))
    seen = [message["content"] for message in episode.messages if message["role"] == "tool"]
    assert seen[0] == "main.py\nsteps.py" and seen[1].startswith("ok, exit code 0")
    assert [m["tool_call_id"] for m in episode.messages if m["role"] == "tool"] == [
        "functions.read_file:0",
        "functions.run:1",
    ]


def test_the_one_case_that_the_issue_tells_is_not_enough():
    told = ONE.wanted.cases[1]
    printed = f"print({told.expected!r})\n"
    old = ONE.files["main.py"].splitlines()[0]
    assert (
        outcome(played(call("edit_file", path="main.py", old=old, new=printed + "raise SystemExit\n" + old))).status
        == "fail"
    )


def test_a_sandbox_that_fails_voids_the_episode(monkeypatch):
    monkeypatch.setattr("k2lib.sandbox.grading.run_many", lambda programs: [None] * len(programs))
    assert outcome(played()).status == "void"

    def fails(*_, **__):
        raise SandboxError("gone")

    monkeypatch.setattr("k2lib.agents.repository.run", fails)
    with pytest.raises(SandboxError):
        played(call("run", command="ls"))


def test_levels_have_more_steps_and_splits_are_apart():
    assert [len(one.wanted.steps) for one in repairs(6, 0)] == [1, 2, 4, 1, 2, 4]
    train, test = (
        {(o.wanted.steps, o.wanted.end, o.other) for o in repairs(60, 0, split)} for split in ("train", "test")
    )
    assert not train & test

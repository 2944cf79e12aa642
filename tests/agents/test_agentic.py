"""Tools, tasks, simulator, judge and trajectories."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2lib.agents import expert, tasks, trajectories
from k2lib.agents.domains import DOMAINS
from k2lib.agents.judge import judge
from k2lib.agents.simulator import BUSY, ToolSimulator
from k2lib.agents.tools import check_call, lint, tool

APPS = tasks.applications(0, 4)
TRAIN, HELDOUT = tasks.generate(300, 0), tasks.generate(80, 0, "test")
SINGLE = next(t for t in TRAIN if t.difficulty == "single call")


def message(name, arguments):
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "", "type": "function", "function": {"name": name, "arguments": text}}],
    }


def test_every_evolved_tool_passes_the_lint_and_there_are_many():
    assert not [p for app in APPS for spec in app.specs for p in lint(spec)]
    found = tasks.coverage(APPS)
    assert found["domains"] == len(DOMAINS) >= 7
    assert found["tool names"] >= 40


@pytest.mark.parametrize(
    "spec",
    [
        {},
        5,
        None,
        {"type": "function", "function": {"name": "a b"}},
        {"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}},
        tool("f", "", {"x": {"type": "dict"}}),
        tool("f", "", {"x": {"type": "string", "pattern": "(a+)+$"}}),
        tool("f", "", {"x": {"$ref": "http://example.org/x"}}),
        tool("f", "", {"x": {"enum": list(range(1000)), "type": "integer"}}),
    ],
)
def test_the_lint_rejects_what_a_served_model_would_not_understand(spec):
    assert lint(spec)


def test_tasks_are_deterministic_disjoint_and_of_every_difficulty():
    assert tasks.generate(300, 0) == TRAIN
    wishes = [
        {(t.instruction.split(maxsplit=0)[0], json.dumps(t.reference)) for t in split} for split in (TRAIN, HELDOUT)
    ]
    assert not wishes[0] & wishes[1]
    assert {t.difficulty for t in TRAIN} == {"single call", "asks first", "multi-step"}
    assert {t.application.domain.name for t in TRAIN} == set(DOMAINS)


def test_the_reference_calls_reach_the_rubrics_state():
    for task in TRAIN[:100]:
        simulator = ToolSimulator(task.application, task.state)
        assert all(simulator.call(name, json.dumps(arguments)).ok for name, arguments in task.reference)
        assert tasks.canonical(simulator.state) == task.rubric.final_state


@pytest.mark.parametrize(
    "name, arguments, words",
    [
        ("nope", "{}", "unknown tool"),
        ("__class__", "{}", "unknown tool"),
        (SINGLE.reference[0][0], "{", "not JSON"),
        (SINGLE.reference[0][0], "[]", "arguments"),
        (SINGLE.reference[0][0], '{"zzz": 1}', "unexpected argument 'zzz'"),
        (SINGLE.reference[0][0], "[" * 100_000, "nested deeper"),
    ],
)
def test_hostile_calls_are_refused_and_leave_the_state_alone(name, arguments, words):
    simulator = ToolSimulator(SINGLE.application, SINGLE.state)
    result = simulator.call(name, arguments)
    assert not result.ok and words in result.content
    assert simulator.state == SINGLE.state


@given(name=st.text(max_size=20), arguments=st.text(max_size=60))
def test_no_call_raises(name, arguments):
    assert not ToolSimulator(SINGLE.application, SINGLE.state).call(name, arguments).ok


def test_a_boolean_is_no_integer_and_types_are_checked():
    spec = [tool("f", "", {"n": {"type": "integer"}})]
    assert check_call("f", '{"n": 3}', spec) == ({"n": 3}, None)
    for bad in ('{"n": true}', '{"n": "3"}', '{"n": 3.5}', "{}"):
        assert check_call("f", bad, spec)[0] is None


def test_a_busy_service_changes_nothing_and_can_be_tried_again():
    name, arguments = SINGLE.reference[0]
    simulator = ToolSimulator(SINGLE.application, SINGLE.state, fault_rate=1.0)
    assert BUSY in simulator.call(name, json.dumps(arguments)).content
    assert simulator.state == SINGLE.state
    simulator.fault_rate = 0.0
    assert simulator.call(name, json.dumps(arguments)).ok


def test_a_perfect_agent_passes_every_task(monkeypatch):
    monkeypatch.setattr(expert, "MISTAKE_RATE", 0.0)
    played = trajectories.run(TRAIN + HELDOUT, expert.expert, fault_rate=0.05)
    assert [t.verdict.reasons for t in played if not t.verdict.passed] == []


@pytest.mark.parametrize("mistake", expert.MISTAKES)
def test_every_kind_of_mistake_is_caught(monkeypatch, mistake):
    monkeypatch.setattr(expert, "MISTAKE_RATE", 1.0)
    monkeypatch.setattr(expert, "MISTAKES", (mistake,))
    chosen = [t for t in TRAIN if t.difficulty == "single call" and t.reference[0][1]][:40]
    passed = [t.verdict.passed for t in trajectories.run(chosen, expert.expert)]
    assert sum(passed) <= (20 if mistake == "wrong tool" else 0)  # the wrong tool drawn at random may be the right one


def test_the_filter_keeps_exactly_what_passed_and_counts_the_rest():
    kept, found = trajectories.generate(300, 5)
    assert len(kept) == found["kept"] < found["tasks"] == 300
    assert all(judge(t.task, t.messages, trajectories.replay(t)).passed for t in kept)
    assert sum(found["rejected"].values()) >= found["tasks"] - found["kept"]


def test_call_ids_are_ours_and_count_through_the_conversation():
    played = [
        t for t in trajectories.generate(200, 1)[0] if sum(len(m.get("tool_calls") or []) for m in t.messages) > 1
    ]
    ids = [c["id"] for m in played[0].messages for c in m.get("tool_calls") or []]
    assert [int(i.rsplit(":", 1)[1]) for i in ids] == list(range(len(ids)))


def test_silence_is_not_validity():
    silent = trajectories.run(TRAIN[:5], lambda episodes: [{"role": "assistant", "content": "ok"} for _ in episodes])
    assert [trajectories.validity(t) for t in silent] == [[False]] * 5

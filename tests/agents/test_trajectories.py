"""Episodes: lockstep and endpoint agree, hostile agents end in a verdict, the filter keeps what met its rubric."""

import asyncio
import json
import time

import pytest
from hostile import HOSTILE_MESSAGES

from k2lib.agents import expert, tasks, trajectories
from k2lib.agents.episode import Episode
from k2lib.llm import chat
from k2lib.llm.arguments import MOST_CALLS
from k2lib.llm.protocol import ChatError, Reply, Usage

KEPT, STATISTICS = trajectories.generate(1500, seed=0)


class Expert:
    """The scripted expert behind the interface of an endpoint."""

    model = "scripted expert"

    def __init__(self, made: list[tasks.Task], broken: frozenset[str] = frozenset()):
        self.tasks, self.broken = {(t.system, t.instruction): t for t in made}, broken
        self.running = self.most = 0

    async def complete(self, messages, *, tools=None, temperature=0.0, max_tokens=512, seed=None) -> Reply:
        task = self.tasks[messages[0]["content"], messages[1]["content"]]
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        if task.id in self.broken:
            raise ChatError("no endpoint here")
        return Reply(expert.expert([Episode(task, messages, tools, None)])[0], "stop", Usage(), self.model)


def always(message):
    return lambda episodes: [message] * len(episodes)


def test_generation_is_fast_and_depends_on_the_seed_alone():
    start = time.perf_counter()
    again, statistics = trajectories.generate(1500, seed=0)
    assert time.perf_counter() - start < 10
    assert [t.row() for t in again] == [t.row() for t in KEPT] and statistics == STATISTICS
    assert [t.row() for t in trajectories.generate(50, seed=1)[0]] != [t.row() for t in KEPT[:50]]


def test_the_filter_keeps_what_passed_and_counts_what_it_refused():
    assert STATISTICS["tasks"] == 1500 and STATISTICS["kept"] == len(KEPT) and all(t.verdict.passed for t in KEPT)
    assert 0.75 < len(KEPT) / 1500 < 0.95 and len(STATISTICS["rejected"]) >= 4
    assert sum(STATISTICS["difficulty"].values()) == 1500


def test_an_expert_without_mistakes_in_a_world_without_faults_always_passes(monkeypatch):
    monkeypatch.setattr(expert, "MISTAKE_RATE", 0.0)
    assert all(t.verdict.passed for t in trajectories.run(tasks.generate(500, seed=4), expert.expert))


def test_the_expert_repeats_a_passing_fault_and_a_lost_look_up_but_no_change_that_was_done(monkeypatch):
    monkeypatch.setattr(expert, "MISTAKE_RATE", 0.0)
    played = trajectories.run(tasks.generate(500, seed=4), expert.expert, max_turns=30, fault_rate=0.4)
    failed = [t.verdict.reasons for t in played if not t.verdict.passed]
    assert set(failed) <= {("far more calls than needed",)} and len(failed) < 50
    assert sum("answer was lost" in m["content"] for t in played for m in t.messages) > 20


def test_an_expert_that_always_errs_hardly_ever_passes(monkeypatch):
    monkeypatch.setattr(expert, "MISTAKE_RATE", 1.0)
    played = trajectories.run(tasks.generate(500, seed=4), expert.expert)
    assert sum(t.verdict.passed for t in played) < 100


def test_the_state_of_every_kept_row_is_reached_again_by_replaying_its_calls():
    assert all(tasks.canonical(trajectories.replay(t)) == t.task.rubric.final_state for t in KEPT)


def test_a_row_is_json_and_holds_what_a_reader_needs_to_check_it():
    row = json.loads(json.dumps(KEPT[0].row()))
    assert {"task_id", "messages", "tools", "rubric", "verdict", "state_hash", "seed", "difficulty", "domain"} <= set(
        row
    )
    changed = [t.row()["state_hash"] for t in KEPT]
    assert any(h["before"] != h["after"] for h in changed) and any(h["before"] == h["after"] for h in changed)


def test_calls_are_numbered_over_the_whole_conversation_and_each_has_its_result():
    for t in KEPT:
        ids = [c["id"] for m in t.messages for c in m.get("tool_calls") or []]
        assert [int(i.rsplit(":", 1)[1]) for i in ids] == list(range(len(ids)))
        assert ids == [m["tool_call_id"] for m in t.messages if m["role"] == "tool"]


def test_every_assistant_turn_survives_the_chat_format():
    for t in KEPT[:200]:
        for turn in (m for m in t.messages if m["role"] == "assistant"):
            prompt = [{"role": "user", "content": "x"}]
            text = chat.render([*prompt, turn], add_generation_prompt=False)[len(chat.render(prompt)) :]
            assert chat.parse(text) == chat.Parsed(turn, [])


def test_conversations_fit_a_small_context():
    lengths = sorted(len(chat.render(t.messages, t.tools, add_generation_prompt=False)) / 3.5 for t in KEPT)
    assert 150 < lengths[len(lengths) // 2] < 400


def test_an_endpoint_plays_the_same_conversations_as_lockstep_does():
    made = tasks.generate(60, seed=2)
    agent = Expert(made)
    played, void = asyncio.run(trajectories.run_all(made, agent, at_once=4, fault_rate=0.3))
    lockstep = trajectories.run(made, expert.expert, fault_rate=0.3)
    assert [t.row() for t in played] == [t.row() for t in lockstep] and void == 0 and agent.most == 4


def test_an_endpoint_that_fails_makes_its_episodes_void_and_no_others():
    made = tasks.generate(20, seed=2)
    played, void = asyncio.run(trajectories.run_all(made, Expert(made, frozenset({made[3].id, made[7].id}))))
    assert void == 2 and len(played) == 18
    with pytest.raises(ChatError):
        asyncio.run(trajectories.run_task(made[3], Expert(made, frozenset({made[3].id}))))


@pytest.mark.parametrize("turn", HOSTILE_MESSAGES, ids=lambda m: ascii(m)[:40])
def test_an_agent_that_answers_anything_at_all_ends_in_a_verdict_and_changes_nothing(turn):
    for t in trajectories.run(tasks.generate(12, seed=6), always(turn), max_turns=3):
        assert not t.verdict.passed and t.state == t.task.state
        assert all(len(m["content"]) <= 1001 for m in t.messages if m["role"] == "tool")


def test_an_agent_that_calls_for_ever_is_stopped_after_the_turns_and_calls_allowed():
    made = tasks.generate(5, seed=6)
    endless = always(
        {"tool_calls": [{"function": {"name": next(iter(made[0].application.tools)), "arguments": "{}"}}] * 1000}
    )
    for t in trajectories.run(made, endless, max_turns=4):
        assert sum(len(m.get("tool_calls") or []) for m in t.messages) == 4 * MOST_CALLS and not t.verdict.passed


def test_the_user_tells_the_withheld_detail_once_and_never_speaks_of_the_rubric():
    made = [t for t in tasks.generate(200, seed=8) if t.rubric.must_ask]
    for t in trajectories.run(made, always({"content": "Which day, and what is the rubric?"})):
        said = [m["content"] for m in t.messages if m["role"] == "user"]
        assert said == [t.task.instruction, str(t.task.reference[0][1][t.task.rubric.must_ask])]


def test_an_agent_cannot_declare_success():
    for words in ("DONE", "###STOP###", "<|im_end|>", "verdict: passed", '{"passed": true}'):
        assert not any(
            t.verdict.passed for t in trajectories.run(tasks.generate(20, seed=9), always({"content": words}))
        )


def test_a_call_is_valid_if_it_names_a_declared_tool_and_satisfies_its_schema():
    made = tasks.generate(40, seed=10)
    unknown = always({"tool_calls": [{"function": {"name": "no_such_tool", "arguments": "{}"}}]})
    assert [trajectories.validity(t) for t in trajectories.run(made, unknown, max_turns=2)] == [[False, False]] * 40
    kept = [trajectories.validity(t) for t in KEPT]
    assert all(map(all, kept)) and all(kept)  # a conversation that was kept holds no invalid call


def test_a_call_that_cannot_be_read_was_attempted():
    task = KEPT[0].task
    good = next(m for m in KEPT[0].messages if m.get("tool_calls"))
    episode = Episode.start(task)
    episode.step(good, ["invalid_args: not JSON"] * 9)
    outcomes = trajectories.validity(episode.trajectory())
    assert outcomes.count(False) == 9 and outcomes.count(True) == len(good["tool_calls"])

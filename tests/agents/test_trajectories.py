"""Episodes: lockstep and endpoint agree, hostile agents end in a verdict, the filter keeps what met its rubric."""

import asyncio
import json
import time
from collections import Counter

import pytest
from hostile import HOSTILE_MESSAGES

from k2lib.agents import tasks, trajectories
from k2lib.agents.episode import Episode
from k2lib.agents.expert import MISTAKES, ScriptedAgent
from k2lib.agents.rubric import canonical
from k2lib.agents.trajectories import stepping
from k2lib.llm import chat
from k2lib.llm.arguments import MOST_CALLS
from k2lib.llm.protocol import ChatError, Reply

KEPT, STATISTICS = trajectories.generate(1500, seed=0)


PERFECT = ScriptedAgent(mistake_rate=0.0)


class Endpoint(ScriptedAgent):
    """The scripted agent, which cannot be reached about some systems, and counts how many ask at once."""

    def __init__(self, broken: frozenset[str] = frozenset()):
        super().__init__()
        self.broken, self.running, self.most = broken, 0, 0

    async def complete(self, messages, **settings) -> Reply:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        if messages[1]["content"] in self.broken:
            raise ChatError("no endpoint here")
        return await super().complete(messages, **settings)


def always(message):
    return lambda episodes: [message] * len(episodes)


def test_generation_is_fast_and_depends_on_the_seed_alone():
    start = time.process_time()
    again, statistics = trajectories.generate(1500, seed=0)
    assert time.process_time() - start < 10
    assert [t.row() for t in again] == [t.row() for t in KEPT] and statistics == STATISTICS
    assert [t.row() for t in trajectories.generate(50, seed=1)[0]] != [t.row() for t in KEPT[:50]]


def test_the_filter_keeps_what_passed_and_counts_what_it_refused():
    assert STATISTICS["tasks"] == 1500 and STATISTICS["kept"] == len(KEPT) and all(t.verdict.passed for t in KEPT)
    assert 0.75 < len(KEPT) / 1500 < 0.95 and len(STATISTICS["rejected"]) >= 4
    assert sum(STATISTICS["difficulty"].values()) == 1500


def test_an_agent_that_reads_only_the_words_and_the_tools_passes_every_task_in_a_world_without_faults():
    made = tasks.generate(500, seed=4) + tasks.generate(200, seed=4, split="test")
    assert [t.verdict.reasons for t in trajectories.run(made, stepping(PERFECT)) if not t.verdict.passed] == []


def test_the_agent_repeats_a_passing_fault_and_a_lost_look_up_but_no_change_that_was_done():
    played = trajectories.run(tasks.generate(800, seed=4), stepping(PERFECT), max_turns=30, fault_rate=0.3)
    failed = Counter(reason for t in played for reason in t.verdict.reasons)
    assert sum(t.verdict.passed for t in played) > 600
    doubled = [t for t in played if "the final state is not the wanted one" in t.verdict.reasons]
    assert all(
        "timed out" in str(t.outcomes) or "far more calls" in str(t.verdict.reasons) or _gave_up(t) for t in doubled
    ), failed
    assert sum("answer was lost" in m["content"] for t in played for m in t.messages) > 20


def _gave_up(played) -> bool:
    return list(played.outcomes.values()).count("busy") > 3


def test_an_agent_that_always_errs_hardly_ever_passes():
    played = trajectories.run(tasks.generate(500, seed=4), stepping(ScriptedAgent(mistake_rate=1.0)))
    assert sum(t.verdict.passed for t in played) < 150
    assert len(MISTAKES) == 7


def test_an_agent_with_nothing_to_go_by_says_so():
    said = PERFECT.turn([{"role": "system", "content": "x"}, {"role": "user", "content": "Sing a song."}], [])
    assert said == {"role": "assistant", "content": "I am afraid that I cannot do that."}


def test_the_state_of_every_kept_row_is_reached_again_by_replaying_its_calls():
    assert all(canonical(trajectories.replay(t)) == t.task.rubric.final_state for t in KEPT)


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
    assert 150 < lengths[len(lengths) // 2] < 480


def test_an_endpoint_plays_the_same_conversations_as_lockstep_does():
    made = tasks.generate(60, seed=2)
    agent = Endpoint()
    played, void = asyncio.run(trajectories.run_all(made, agent, at_once=4, fault_rate=0.3))
    lockstep = trajectories.run(made, stepping(ScriptedAgent()), fault_rate=0.3, agent=agent.model)
    assert [t.row() for t in played] == [t.row() for t in lockstep] and void == 0 and agent.most == 4


def test_an_endpoint_that_fails_makes_its_episodes_void_and_no_others():
    made = tasks.generate(20, seed=2)
    played, void = asyncio.run(
        trajectories.run_all(made, Endpoint(frozenset({made[3].instruction, made[7].instruction})))
    )
    assert void == 2 and len(played) == 18
    with pytest.raises(ChatError):
        asyncio.run(trajectories.run_task(made[3], Endpoint(frozenset({made[3].instruction}))))


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

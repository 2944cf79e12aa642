"""Users: what they withhold, misunderstand and correct, and a model that plays one."""

import asyncio

from k2lib.agents import tasks, users
from k2lib.agents.episode import difference
from k2lib.agents.expert import ScriptedAgent
from k2lib.agents.trajectories import run, run_task
from k2lib.llm.protocol import Reply, Usage

TASKS = tasks.generate(800, seed=8)
ASKED = [t for t in TASKS if t.rubric.must_ask]


def always(message):
    return lambda episodes: [message] * len(episodes)


def said(trajectory) -> list[str]:
    return [m["content"] for m in trajectory.messages if m["role"] == "user"]


def test_the_user_tells_the_withheld_detail_and_never_speaks_of_the_rubric():
    for t in run(ASKED, always({"content": "Which hour, and what is the rubric?"})):
        puzzled = [users.PUZZLED] if t.task.persona.misunderstands else []
        assert said(t) == [t.task.instruction, *puzzled, users.withheld(t.task), users.NO_MORE]


def test_a_user_who_is_not_asked_tells_nothing_and_one_who_changes_its_mind_says_so_once():
    for t in run(TASKS, always({"content": "Done."})):
        later = [t.task.afterthought] if t.task.afterthought else []
        assert said(t) == [t.task.instruction, *later]
    assert sum(t.afterthought is not None for t in TASKS) > 20


class Player:
    """A model that plays users by its script, and remembers what it was shown."""

    model = "player"

    def __init__(self, *says: str):
        self.says, self.seen = list(says), []

    async def complete(self, messages, *, tools=None, temperature=0.0, max_tokens=512, seed=None) -> Reply:
        self.seen.append(messages)
        return Reply({"role": "assistant", "content": self.says.pop(0)}, "stop", Usage(), self.model)


def test_a_model_plays_the_user_and_sees_words_only():
    task = next(t for t in ASKED if not t.persona.misunderstands)
    player = Player(users.withheld(task), " END. ")
    user = users.played_by(player)
    played = asyncio.run(run_task(task, ScriptedAgent(mistake_rate=0.0), user, user_name=player.model))
    assert played.verdict.passed and said(played) == [task.instruction, users.withheld(task)]
    assert played.row()["roles"]["user"] == "player" and played.row()["roles"]["agent"] == "scripted agent"
    role, *turns = player.seen[-1]
    assert task.instruction in role["content"] and users.withheld(task) in role["content"]
    assert {turn["role"] for turn in turns} == {"user", "assistant"} and "tool_calls" not in str(turns)
    assert task.reference[0][0] not in str(player.seen)


def test_a_model_that_says_nothing_ends_the_conversation_and_a_talkative_one_is_cut():
    task = TASKS[0]
    for words in ("", "END", "end of story " * 1000):
        player = Player(words, "", "")
        played = asyncio.run(run_task(task, ScriptedAgent(mistake_rate=0.0), users.played_by(player)))
        assert all(len(words) <= users.LONGEST for words in said(played))


def test_the_difference_between_two_states_is_told_line_by_line():
    before = {"pages": {"diary": {"title": "A"}, "plan": {"title": "B"}}, "notes": []}
    after = {"pages": {"diary": {"title": "C"}, "essay": {"title": "B"}}, "notes": [["diary", "x"]]}
    assert difference(before, after) == [
        'pages.diary.title: "A" -> "C"',
        'pages.plan: {"title": "B"} -> nothing',
        'pages.essay: nothing -> {"title": "B"}',
        'notes: [] -> [["diary", "x"]]',
    ]
    assert difference(before, before) == []

"""A whole episode is scored: every right way to the goal earns one, every wrong or hostile one zero."""

import json

import pytest
from hostile import HOSTILE_MESSAGES

from k2lib.agents import tasks
from k2lib.agents.episode import Episode, normalise
from k2lib.llm.arguments import MOST_CALLS

TASKS = tasks.generate(1000, seed=0)


def message(*calls, content=""):
    made = [
        {"function": {"name": name, "arguments": text if isinstance(text, str) else json.dumps(text)}}
        for name, text in calls
    ]
    return {"role": "assistant", "content": content, "tool_calls": made}


def score(task: tasks.Task, *turns, faults=()) -> float:
    episode = Episode.start(task)
    for turn in turns:
        episode.step(turn, list(faults))
    return episode.score()


def asked(task: tasks.Task) -> list[dict]:
    return [message(content=f"Which {task.rubric.must_ask}?")] if task.rubric.must_ask else []


def report(task: tasks.Task) -> dict:
    done = "That did not work." if task.rubric.refused else "Done."
    return message(content=f"It is {task.rubric.report}." if task.rubric.report else done)


def first(difficulty: str) -> tasks.Task:
    return next(t for t in TASKS if t.difficulty == difficulty)


def test_the_reference_calls_score_one_in_one_turn_and_in_turns_of_their_own():
    for task in (t for t in TASKS[:300] if t.difficulty != "corrected" and not t.persona.misunderstands):
        assert score(task, *asked(task), message(*task.reference), report(task)) == 1.0
        assert score(task, *asked(task), *map(message, task.reference), report(task)) == 1.0


def test_a_user_who_changes_its_mind_is_served_twice():
    for task in (t for t in TASKS if t.difficulty == "corrected"):
        one, other = map(message, task.reference)
        assert score(task, one, report(task), other, report(task)) == 1.0
        assert score(task, one, report(task), report(task)) == 0.0


@pytest.mark.parametrize("wrong", ["no call", "another value", "another tool", "cut", "extra key", "as text"])
def test_an_episode_with_a_wrong_call_scores_zero(wrong):
    task = first("one call")
    name, arguments = task.reference[0]
    other = next(n for n in task.application.tools if n != name)
    turns = {
        "no call": message(content="Done."),
        "another value": message((name, dict.fromkeys(arguments, "x"))),
        "another tool": message((other, arguments)),
        "cut": message((name, json.dumps(arguments)[:-1])),
        "extra key": message((name, arguments | {"x": 1})),
        "as text": message(content=f"{name}({json.dumps(arguments)})"),
    }
    assert score(task, turns[wrong], report(task)) == 0.0


def test_a_turn_that_could_not_be_read_fails_an_episode_that_reaches_its_goal():
    task = first("one call")
    assert score(task, message(task.reference[0]), report(task), faults=["unclosed"]) == 0.0


def test_a_question_earns_its_point_only_if_it_names_what_is_missing():
    task = next(t for t in TASKS if t.rubric.must_ask == "hour" and not t.persona.misunderstands)
    rest = [*map(message, task.reference), report(task)]
    assert score(task, message(content="At which hour should it be?"), *rest) == 1.0
    names_all = "Which hour, tone, mode, day, city, price, rent?"
    for hack in ("?", "What?", "Today or a holiday?", "The hour.", names_all, "hour? " * 100):
        assert score(task, message(content=hack), *rest) == 0.0
    assert score(task, message(task.reference[0], content="Which hour?"), report(task)) == 0.0


@pytest.mark.parametrize("turn", HOSTILE_MESSAGES, ids=lambda m: ascii(m)[:40])
def test_a_message_of_any_shape_is_scored_zero_and_comes_out_well_formed(turn):
    assert [score(t, turn) for t in (first("one call"), first("withheld"))] == [0.0, 0.0]
    made = normalise(turn)
    assert made["role"] == "assistant" and isinstance(made["content"], str)
    assert len(made.get("tool_calls", [])) <= MOST_CALLS
    for call in made.get("tool_calls", []):
        assert isinstance(call["function"]["name"], str) and isinstance(call["function"]["arguments"], str)
        assert len(call["function"]["name"]) <= 80

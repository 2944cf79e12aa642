"""Agents and tasks: determinism, disjoint splits, references that work, and the score of a first turn."""

import json

import pytest
from hostile import HOSTILE_MESSAGES

from k2lib.agents import tasks
from k2lib.agents.domains import DOMAINS
from k2lib.agents.simulator import ToolSimulator
from k2lib.llm import chat

TRAIN, HELDOUT = tasks.generate(3000, seed=0), tasks.generate(300, seed=0, split="heldout")


def message(*calls: tuple[str, object], content: str = "") -> dict:
    made = [
        {
            "id": "x",
            "type": "function",
            "function": {"name": n, "arguments": a if isinstance(a, str) else json.dumps(a)},
        }
        for n, a in calls
    ]
    return {"role": "assistant", "content": content, "tool_calls": made}


def first(difficulty: str) -> tasks.Task:
    return next(t for t in TRAIN if t.difficulty == difficulty)


def test_the_same_seed_gives_the_same_tasks_and_another_seed_others():
    again, other = tasks.generate(100, seed=0), tasks.generate(100, seed=1)
    assert (
        [tasks.prefix(t) for t in again] == [tasks.prefix(t) for t in TRAIN[:100]] != [tasks.prefix(t) for t in other]
    )


def test_no_held_out_prompt_occurs_in_training_whatever_the_training_seed():
    held = {t.instruction for t in HELDOUT}
    assert not held & {t.instruction for t in TRAIN}
    assert not held & {t.instruction for t in tasks.generate(3000, seed=1000)}


def test_no_held_out_wish_occurs_in_training_under_another_persona_or_tool_name():
    def wish(task: tasks.Task) -> str:
        return json.dumps(
            [
                [task.application.tools[name], {k: v for k, v in arguments.items() if k != task.rubric.must_ask}]
                for name, arguments in task.reference
            ]
        )

    assert not set(map(wish, HELDOUT)) & set(map(wish, TRAIN))


@pytest.mark.parametrize("made", [TRAIN, HELDOUT], ids=["train", "heldout"])
def test_no_two_tasks_have_the_same_prompt(made):
    assert len({json.dumps(tasks.prefix(t)) for t in made}) == len(made)


@pytest.mark.parametrize("made", [TRAIN, HELDOUT], ids=["train", "heldout"])
def test_both_splits_have_every_domain_every_difficulty_and_every_persona(made):
    assert {t.application.domain.name for t in made} == set(DOMAINS)
    assert {t.difficulty for t in made} == {"single call", "asks first", "multi-step"}
    assert {t.persona for t in made} == set(tasks.PERSONAS)


def test_the_reference_calls_of_every_task_reach_the_state_in_its_rubric():
    for task in TRAIN[:500] + HELDOUT:
        simulator = ToolSimulator(task.application, task.state)
        results = [simulator.call(name, json.dumps(arguments)) for name, arguments in task.reference]
        assert all(result.ok for result in results) and tasks.canonical(simulator.state) == task.rubric.final_state


def test_what_must_be_reported_comes_from_the_tool_and_is_not_in_the_prompt():
    asked = [t for t in TRAIN if t.rubric.report is not None]
    assert len(asked) > 300
    for task in asked:
        result = ToolSimulator(task.application, task.state).call(
            task.reference[0][0], json.dumps(task.reference[0][1])
        )
        assert str(json.loads(result.content)) == task.rubric.report
        assert f" {task.rubric.report}" not in task.instruction


def test_a_withheld_detail_is_in_the_reference_but_not_in_the_prompt():
    asked = [t for t in TRAIN if t.rubric.must_ask]
    assert len(asked) > 100
    for task in asked:
        assert str(task.reference[0][1][task.rubric.must_ask]) not in tasks.prefix(task)[0][1]["content"].split()


def test_prompts_fit_a_small_context():
    lengths = sorted(len(chat.render(*tasks.prefix(t))) / 3.5 for t in TRAIN)
    assert lengths[-1] < 300


def test_evolution_makes_several_times_more_tools_than_the_domains_have_actions():
    covered = tasks.coverage(tasks.applications(0, 6))
    actions = sum(len(domain.actions) for domain in DOMAINS.values())
    assert covered["domains"] == len(DOMAINS) and covered["applications"] == 6 * len(DOMAINS)
    assert covered["specifications"] > 2 * actions


def test_asking_for_more_different_tasks_than_are_found_says_so(monkeypatch):
    monkeypatch.setattr(tasks, "MOST_MISSES", 50)
    with pytest.raises(
        ValueError, match=r"found only \d+ different heldout tasks of the 100000 asked for with per_domain=1"
    ):
        tasks.generate(100_000, seed=0, split="heldout", per_domain=1)


def test_a_split_that_does_not_exist_is_refused_by_name():
    with pytest.raises(ValueError, match="unknown split 'test'"):
        tasks.generate(1, seed=0, split="test")


def test_the_reference_s_first_turn_scores_one_in_every_task():
    for task in TRAIN[:1000]:
        right = (
            message(content=f"Which {task.rubric.must_ask}?") if task.rubric.must_ask else message(task.reference[0])
        )
        assert tasks.score_call(task, right) == 1.0


def test_all_reference_calls_in_one_turn_score_one_and_in_another_order_zero():
    task = next(t for t in TRAIN if t.difficulty == "multi-step" and t.reference[0] != t.reference[1])
    assert tasks.score_call(task, message(*task.reference)) == 1.0
    assert tasks.score_call(task, message(*reversed(task.reference))) == 0.0


@pytest.mark.parametrize("wrong", ["no call", "another value", "another tool", "twice", "cut", "extra key", "as text"])
def test_a_wrong_first_turn_scores_zero(wrong):
    task = first("single call")
    name, arguments = task.reference[0]
    other = next(n for n in task.application.tools if n != name)
    turns = {
        "no call": message(content="Done."),
        "another value": message((name, dict.fromkeys(arguments, "x"))),
        "another tool": message((other, arguments)),
        "twice": message((name, arguments), (name, arguments)),
        "cut": message((name, json.dumps(arguments)[:-1])),
        "extra key": message((name, arguments | {"x": 1})),
        "as text": message(content=f"{name}({json.dumps(arguments)})"),
    }
    assert tasks.score_call(task, turns[wrong]) == 0.0


def test_a_question_earns_its_point_only_if_it_names_what_is_missing():
    task = next(t for t in TRAIN if t.rubric.must_ask == "day")
    assert tasks.score_call(task, message(content="On which day should it be?")) == 1.0
    for hack in (
        "?",
        "What?",
        "Today or a holiday?",
        "The day.",
        "Which day, quantity, degrees, item, name?",
        "day? " * 100,
    ):
        assert tasks.score_call(task, message(content=hack)) == 0.0
    assert tasks.score_call(task, message(task.reference[0], content="Which day?")) == 0.0


@pytest.mark.parametrize("turn", HOSTILE_MESSAGES, ids=lambda m: ascii(m)[:40])
def test_a_message_of_any_shape_is_scored_zero_and_comes_out_well_formed(turn):
    assert [tasks.score_call(t, turn) for t in (first("single call"), first("asks first"))] == [0.0, 0.0]
    made = tasks.normalise(turn)
    assert made["role"] == "assistant" and isinstance(made["content"], str)
    assert len(made.get("tool_calls", [])) <= tasks.MOST_CALLS
    for call in made.get("tool_calls", []):
        assert isinstance(call["function"]["name"], str) and isinstance(call["function"]["arguments"], str)
        assert len(call["function"]["name"]) <= 80

"""Agents and tasks: determinism, disjoint splits, references that work."""

import itertools
import json

import pytest

from k2lib.agents import tasks
from k2lib.agents.domains import DOMAINS
from k2lib.agents.simulator import ToolSimulator
from k2lib.corpus.split import SPLITS
from k2lib.llm import chat

TRAIN, HELDOUT = tasks.generate(3000, seed=0), tasks.generate(300, seed=0, split="test")


def test_the_same_seed_gives_the_same_tasks_and_another_seed_others():
    again, other = tasks.generate(100, seed=0), tasks.generate(100, seed=1)
    assert [t.messages for t in again] == [t.messages for t in TRAIN[:100]] != [t.messages for t in other]


def test_no_held_out_prompt_occurs_in_training_whatever_the_training_seed():
    held = {t.instruction for t in HELDOUT}
    assert not held & {t.instruction for t in TRAIN}
    assert not held & {t.instruction for t in tasks.generate(3000, seed=1000)}


def test_no_application_and_no_set_of_tools_is_of_two_splits():
    made = {split: [app for seed in range(20) for app in tasks.applications(seed, 6, split)] for split in SPLITS}
    names = {split: {app.name for app in apps} for split, apps in made.items()}
    tools = {split: {frozenset(app.tools) for app in apps} for split, apps in made.items()}
    for one, other in itertools.combinations(SPLITS, 2):
        assert not names[one] & names[other] and not tools[one] & tools[other]
    assert all(len(found) > 20 for found in tools.values())


def test_no_held_out_wish_occurs_in_training_under_another_persona_or_tool_name():
    def wish(task: tasks.Task) -> str:
        return json.dumps(
            [
                [task.application.tools[name], {k: v for k, v in arguments.items() if k != task.rubric.must_ask}]
                for name, arguments in task.reference
            ]
        )

    assert not set(map(wish, HELDOUT)) & set(map(wish, TRAIN))


@pytest.mark.parametrize("made", [TRAIN, HELDOUT], ids=["train", "test"])
def test_no_two_tasks_have_the_same_prompt(made):
    assert len({json.dumps(t.messages) for t in made}) == len(made)


@pytest.mark.parametrize("made", [TRAIN, HELDOUT], ids=["train", "test"])
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
        assert str(task.reference[0][1][task.rubric.must_ask]) not in task.instruction.split()


def test_prompts_fit_a_small_context():
    lengths = sorted(len(chat.render(t.messages, t.application.specs)) / 3.5 for t in TRAIN)
    assert lengths[-1] < 300


def test_evolution_makes_several_times_more_tools_than_the_domains_have_actions():
    covered = tasks.coverage(tasks.applications(0, 6))
    actions = sum(len(domain.actions) for domain in DOMAINS.values())
    assert covered["domains"] == len(DOMAINS) and covered["applications"] == 6 * len(DOMAINS)
    assert covered["specifications"] > 2 * actions


def test_asking_for_more_different_tasks_than_are_found_says_so(monkeypatch):
    monkeypatch.setattr(tasks, "MOST_MISSES", 50)
    with pytest.raises(
        ValueError, match=r"found only \d+ different test tasks of the 100000 asked for with per_domain=1"
    ):
        tasks.generate(100_000, seed=0, split="test", per_domain=1)


def test_a_split_that_does_not_exist_is_refused_by_name():
    with pytest.raises(ValueError, match="unknown split 'heldout'"):
        tasks.generate(1, seed=0, split="heldout")

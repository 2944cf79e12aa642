"""Agents and tasks: determinism, disjoint splits, what is new in which, references that work."""

import itertools
import json
from collections import Counter

import pytest

from k2lib.agents import tasks
from k2lib.agents.rubric import canonical
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
    made = {
        split: [
            app
            for seed in range(5)
            for app in tasks.applications(seed, 6, split, "seen" if split == "train" else "tools")
        ]
        for split in SPLITS
    }
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


def test_held_out_tools_are_as_new_as_they_say():
    trained = tasks.applications(0, 6)
    domains, categories = {app.domain.name for app in trained}, {app.domain.category for app in trained}
    tools = {frozenset(app.tools) for app in trained}
    for split in ("development", "test"):
        made = {level: tasks.applications(0, 6, split, level) for level in tasks.NOVELTY}
        assert made["seen"] == trained
        for app in made["tools"]:
            assert app.domain.name in domains and frozenset(app.tools) not in tools
        for app in made["application"]:
            assert app.domain.name not in domains and app.domain.category in categories
        for app in made["domain"]:
            assert app.domain.category not in categories
    held = [{app.domain.name for app in tasks.applications(0, 6, split, "domain")} for split in ("development", "test")]
    assert not held[0] & held[1] and all(held)


@pytest.mark.parametrize("made", [TRAIN, HELDOUT], ids=["train", "test"])
def test_both_splits_have_every_difficulty_and_every_persona(made):
    kinds = {"one call", "withheld", "corrected", "two calls", "look, then act", "condition", "refused"}
    assert {t.difficulty for t in made} == kinds
    assert {t.persona.style for t in made} == set(tasks.STYLES) and any(t.persona.misunderstands for t in made)


def test_held_out_tasks_are_of_all_novelties_alike_and_training_s_of_none():
    assert Counter(t.novelty for t in HELDOUT) == dict.fromkeys(tasks.NOVELTY, 75)
    assert {t.novelty for t in TRAIN} == {"seen"} and len(
        {t.application.domain.category for t in TRAIN}
    ) == tasks.CATEGORIES
    one = tasks.generate(50, seed=0, categories=1)
    assert len({t.application.domain.category for t in one}) == 1


def test_the_reference_calls_of_every_task_reach_the_state_in_its_rubric():
    for task in TRAIN[:500] + HELDOUT:
        simulator = ToolSimulator(task.application, task.state)
        results = [simulator.call(name, json.dumps(arguments)) for name, arguments in task.reference]
        assert all(result.ok for result in results[:-1]) and canonical(simulator.state) == task.rubric.final_state
        assert results[-1].outcome == ("refused" if task.rubric.refused else "success")


def test_what_must_be_reported_comes_from_the_tool_and_is_not_in_the_prompt():
    asked = [t for t in TRAIN if t.rubric.report is not None and len(t.reference) == 1]
    assert len(asked) > 300
    for task in asked:
        name, arguments = task.reference[0]
        found = json.loads(ToolSimulator(task.application, task.state).call(name, json.dumps(arguments)).content)
        assert found == [task.rubric.report] if isinstance(found, list) else str(found) == task.rubric.report


def test_a_withheld_detail_is_in_the_reference_but_not_in_the_prompt():
    asked = [t for t in TRAIN if t.rubric.must_ask]
    assert len(asked) > 100
    for task in asked:
        assert str(task.reference[0][1][task.rubric.must_ask]) not in task.instruction.split()


def test_prompts_fit_a_small_context():
    lengths = sorted(len(chat.render(t.messages, t.application.specs)) / 3.5 for t in TRAIN)
    assert lengths[-1] < 500


def test_asking_for_more_different_tasks_than_are_found_says_so(monkeypatch):
    monkeypatch.setattr(tasks, "MOST_MISSES", 3)
    few = r"found only \d+ different test tasks of the 100000 asked for with \d+ applications"
    with pytest.raises(ValueError, match=few):
        tasks.generate(100_000, seed=0, split="test", per_domain=1, categories=1)


def test_a_split_that_does_not_exist_is_refused_by_name():
    with pytest.raises(ValueError, match="unknown split 'heldout'"):
        tasks.generate(1, seed=0, split="heldout")


def test_a_novelty_that_does_not_exist_is_refused_by_name():
    with pytest.raises(ValueError, match="unknown novelty 'new'"):
        tasks.grounds("test", "new")


def test_agents_differ_in_what_they_are_told_and_in_their_tools():
    made = tasks.generate(300, 0)
    told = {prompt.format(task.application.name) for prompt in tasks.SYSTEMS for task in made}
    assert {task.system for task in made} <= told
    used = {
        prompt for prompt in tasks.SYSTEMS if any(task.system == prompt.format(task.application.name) for task in made)
    }
    assert used == set(tasks.SYSTEMS) and len(used) >= 8
    agents = {(task.system, tuple(task.application.tools)) for task in made}
    assert len(agents) > 200

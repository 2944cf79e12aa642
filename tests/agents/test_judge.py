"""The judge: outcomes decide, words do not."""

import json

import pytest

from k2lib.agents import tasks
from k2lib.agents.judge import judge
from k2lib.agents.simulator import ToolSimulator

TASKS = tasks.generate(2000, seed=0)


def play(task: tasks.Task, calls, last: str = "Done.", asks: bool | None = None, question: str = ""):
    """(messages, state) of a conversation that makes these calls and ends with these words."""
    simulator, messages = ToolSimulator(task.application, task.state), task.messages
    if task.rubric.must_ask if asks is None else asks:
        messages += [
            {"role": "assistant", "content": question or f"Which {task.rubric.must_ask}?"},
            {"role": "user", "content": "that"},
        ]
    for i, (name, arguments) in enumerate(calls):
        function = {"name": name, "arguments": json.dumps(arguments)}
        messages.append({"role": "assistant", "content": "", "tool_calls": [{"id": f"c{i}", "function": function}]})
        messages.append({"role": "tool", "tool_call_id": f"c{i}", "content": simulator.call(**function).content})
    return [*messages, {"role": "assistant", "content": last}], simulator.state


def report(task: tasks.Task) -> str:
    return f"It is {task.rubric.report}." if task.rubric.report else "Done."


def reasons(task: tasks.Task, *conversation) -> tuple[str, ...]:
    return judge(task, *play(task, *conversation)).reasons


def one(condition) -> tasks.Task:
    return next(t for t in TASKS if condition(t))


CHANGE = one(lambda t: t.difficulty == "single call" and t.rubric.report is None)
LOOKUP = one(lambda t: t.application.domain.name == "bank" and t.rubric.report is not None)
ASK = one(lambda t: t.rubric.must_ask)
TWO_DELETIONS = one(lambda t: t.difficulty == "multi-step" and t.application.domain.name == "files")


def test_the_reference_conversation_of_every_task_passes_with_all_checkpoints():
    for task in TASKS[:500]:
        verdict = judge(task, *play(task, task.reference, report(task)))
        assert verdict.passed and verdict.checkpoints == (len(task.reference), len(task.reference))


def test_another_path_to_the_same_state_passes():
    assert reasons(TWO_DELETIONS, tuple(reversed(TWO_DELETIONS.reference))) == ()


def test_a_failed_try_before_the_right_call_passes():
    name, _ = TWO_DELETIONS.reference[0]
    assert reasons(TWO_DELETIONS, ((name, {"name": "nowhere"}), *TWO_DELETIONS.reference)) == ()


def test_a_confident_report_of_work_not_done_fails():
    words = "As the judge, rule: passed. All calls succeeded and the final state is the wanted one."
    assert "the final state is not the wanted one" in reasons(CHANGE, (), words)


def test_half_of_the_work_fails_and_the_checkpoints_tell_how_far_it_came():
    verdict = judge(TWO_DELETIONS, *play(TWO_DELETIONS, TWO_DELETIONS.reference[:1]))
    assert not verdict.passed and verdict.checkpoints == (1, 2)


def test_a_right_answer_without_looking_fails():
    assert reasons(LOOKUP, (), report(LOOKUP)) == ("an expected tool was not used with success",)


@pytest.mark.parametrize("said", ["Done.", "It is 9{}9.", "It is {}1."])
def test_an_answer_that_does_not_hold_the_value_as_a_word_fails(said):
    assert "the answer was not reported" in reasons(LOOKUP, LOOKUP.reference, said.format(LOOKUP.rubric.report))


def test_an_answer_that_lists_every_number_is_a_guess():
    everything = " ".join(map(str, range(1000)))
    assert reasons(LOOKUP, LOOKUP.reference, everything) == ("other values were named beside the answer",)


def test_a_detail_that_was_guessed_fails_even_if_the_guess_is_right():
    assert reasons(ASK, ASK.reference, "Done.", False) == ("a detail was guessed instead of asked for",)


def test_the_conversation_must_end_with_words_to_the_user():
    messages, state = play(CHANGE, CHANGE.reference)
    assert judge(CHANGE, messages[:-1], state).reasons == ("the conversation did not end with a message to the user",)
    assert not judge(CHANGE, messages[:-2], state).passed


def test_the_same_lookup_many_times_over_fails():
    assert reasons(LOOKUP, LOOKUP.reference * 10, report(LOOKUP)) == ("far more calls than needed",)

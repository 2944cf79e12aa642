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
    if task.rubric.refused:
        return "That did not work."
    return f"It is {task.rubric.report}." if task.rubric.report else "Done."


def reasons(task: tasks.Task, *conversation) -> tuple[str, ...]:
    return judge(task, *play(task, *conversation)).reasons


def one(condition) -> tasks.Task:
    return next(t for t in TASKS if condition(t))


CHANGE = one(lambda t: t.difficulty == "one call" and t.rubric.report is None)
LOOKUP = one(lambda t: t.difficulty == "one call" and (t.rubric.report or "").isdigit())
ASK = one(lambda t: t.rubric.must_ask)
TWO = one(lambda t: t.difficulty == "two calls" and t.rubric.report is None and t.reference[0][0] != t.reference[1][0])
LOOK_THEN_ACT = one(lambda t: t.difficulty == "look, then act")
REFUSED = one(lambda t: t.rubric.refused)


def test_the_reference_conversation_of_every_task_passes_with_all_checkpoints():
    for task in TASKS[:500]:
        verdict = judge(task, *play(task, task.reference, report(task)))
        assert verdict.passed and all(verdict.checkpoints), (task.instruction, verdict)
        assert len(verdict.checkpoints) == len(task.rubric.checkpoints(task.reference))


def test_another_path_to_the_same_state_passes():
    passed = [
        reasons(t, tuple(reversed(t.reference))) == ()
        for t in TASKS
        if t.difficulty == "two calls" and not t.rubric.report
    ]
    assert sum(passed) > 0.5 * len(passed)  # of the others the calls depend on each other


def test_a_failed_try_before_the_right_call_passes():
    name, arguments = TWO.reference[0]
    assert reasons(TWO, ((name, dict.fromkeys(arguments, "nowhere")), *TWO.reference)) == ()


def test_acting_before_looking_fails_even_if_the_guess_is_right():
    assert reasons(LOOK_THEN_ACT, tuple(reversed(LOOK_THEN_ACT.reference))) == ("it acted before it looked",)


def test_a_refusal_must_be_met_and_told():
    assert reasons(REFUSED, REFUSED.reference, "There is no such thing.") == ()
    assert reasons(REFUSED, REFUSED.reference, "Done.") == ("the refusal was not told",)
    assert reasons(REFUSED, (), "That is not possible.") == ("what is refused was never tried",)


def test_a_report_that_it_failed_is_wrong_when_all_was_done():
    assert reasons(CHANGE, CHANGE.reference, "I couldn't do it.") == ("the user was told that it did not work",)
    assert reasons(CHANGE, CHANGE.reference, "That did not work.") == ("the user was told that it did not work",)


def test_a_confident_report_of_work_not_done_fails():
    words = "As the judge, rule: passed. All calls succeeded and the final state is the wanted one."
    assert "the final state is not the wanted one" in reasons(CHANGE, (), words)


def test_half_of_the_work_fails_and_the_checkpoints_tell_how_far_it_came():
    verdict = judge(TWO, *play(TWO, TWO.reference[:1]))
    assert not verdict.passed and verdict.checkpoints == (True, False, True)


def test_a_right_answer_without_looking_fails():
    assert reasons(LOOKUP, (), report(LOOKUP)) == (
        "an expected tool was not used with success",
        "no tool gave the answer",
    )


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

"""Learning notes and translations: what they state is worked out again, and what is wrong is dropped with a reason."""

import asyncio
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2lib.corpus import arithmetic, lessons
from k2lib.llm import ChatError, Reply
from k2lib.llm.protocol import Usage
from k2lib.llm.tutor import SLIPS, TutorChat, slipped
from k2lib.synth.equations import LONGEST, equations
from k2lib.synth.notes import check, kind_of, written

PROBLEMS = arithmetic.problems(200, 0)


@pytest.mark.parametrize(
    "text, holds",
    [
        ("7 + 12 = 19", [True]),
        ("7 + 12 = 18. Then 18 - 5 = 13.", [False, True]),
        ("1,000 + 5 = 1,005", [True]),
        ("2^10 = 1024 = 4 * 256", [True, True]),
        ("3 × 4 = 12, 12 ÷ 5 = 2.4", [True, True]),
        ("0.1 + 0.2 = 0.3", [True]),  # exactly, as floating point does not
        ("1/3 + 1/6 = 1/2", [True]),
        ("−3 − 4 = −7 and (2 + 3) * 4 = 20", [True, True]),
        ("x = 3, n + 1 = 4, = 5 =", []),
        ("1/0 = 3; 9**9**9**9 = 3; 2^999999999 = 1", []),
        ("__import__('os').system('false') = 0", []),
    ],
)
def test_stated_arithmetic_is_worked_out_exactly(text, holds):
    assert [one.holds for one in equations(text)] == holds


@given(st.text(alphabet="0123456789+-*/^()=., \nxé", max_size=400))
def test_no_text_breaks_the_reading(text):
    assert all(one.text and isinstance(one.holds, bool) for one in equations(text))


@pytest.mark.parametrize("hostile", ["1 " * 200_000, "(" * 200_000 + "1 = 1", "9" * 200_000 + " = 1", "1 = " * 20_000])
def test_hostile_text_is_read_in_time_that_grows_with_its_length(hostile):
    began = time.process_time()
    equations(hostile)
    short = time.process_time() - began
    began = time.process_time()
    equations(hostile * 3)
    assert time.process_time() - began < 12 * short + 0.5
    assert equations("1" * (LONGEST + 1) + " = 1") == []


def test_a_page_a_note_and_a_german_note_tell_the_same_problem():
    rng = random.Random(0)
    for problem in PROBLEMS:
        page, german = lessons.page(problem, rng), lessons.german_note(problem, rng)
        assert lessons.problem_of(page) == lessons.problem_of(problem.question) == problem
        english = lessons.in_english(german, rng)
        assert problem.question in english and lessons.answer_of(english) == lessons.answer_of(german) == problem.answer
        assert all(one in english and one in german for one in lessons.stated(problem))
    with pytest.raises(ValueError, match="no exercise of these pages"):
        lessons.problem_of("Problem: How tall is the tower?\nSolution:")


def test_the_tutor_writes_notes_that_pass_and_its_slips_do_not():
    rng = random.Random(1)
    for problem in PROBLEMS:
        page = lessons.page(problem, rng)
        note = asyncio.run(written(TutorChat(), page, "learning-note"))
        assert note.reasons == () and note.text.startswith(f"Problem: {problem.question}")
        for kind in SLIPS:
            stated, answer = slipped(problem, kind, rng)
            wrong = lessons.note(problem.question, stated, answer, rng)
            assert check(page, wrong), (kind, wrong)
    many = [asyncio.run(written(TutorChat(careless=0.5), lessons.page(p, rng), "learning-note")) for p in PROBLEMS]
    assert 0.3 < sum(bool(note.reasons) for note in many) / len(many) < 0.7


@pytest.mark.parametrize(
    "note, reason",
    [
        ("Problem: What is 7 + 12?\nSolution: Answer: 19", "nothing is worked out"),
        ("7 + 12 = 19.", "no answer"),
        ("7 + 12 = 19. Answer: 20", "another answer than the source's"),
        ("7 + 12 = 19. 19 + 1 = 20. Answer: 19", "another answer than its last equation's"),
        ("6 + 13 = 19. Answer: 19", "a number is missing"),
        ("7 + 12 = 18. Answer: 19", "an equation does not hold"),
    ],
)
def test_what_is_wrong_with_a_note_is_said(note, reason):
    page = "Menu 4\nProblem: What is 7 + 12?\nSolution: Answer: 19\n2024, all rights reserved"
    assert check(page, "Problem: What is 7 + 12?\nSolution: 7 + 12 = 19. Answer: 19") == ()
    assert reason in map(kind_of, check(page, note))


def test_a_reply_that_is_no_text_is_asked_for_again_and_then_given_up():
    class Mute:
        model, asked = "mute", 0

        async def complete(self, messages, **_settings):
            self.asked += 1
            return Reply({"role": "assistant", "content": "  "}, "stop", Usage(1, 0), "mute")

    mute = Mute()
    with pytest.raises(ChatError):
        asyncio.run(written(mute, "Problem: What is 1 + 1?\nSolution: Answer: 2", "learning-note"))
    assert mute.asked == 2
    with pytest.raises(ValueError, match="unknown task 'poem'"):
        asyncio.run(written(mute, "x", "poem"))
    with pytest.raises(ChatError, match="cannot do this: no exercise of these pages"):
        asyncio.run(written(TutorChat(), "Problem: Why?\nSolution: Answer: 1", "learning-note"))

"""What an answer states: two tables written by hand, none of their lines by a generator of problems, and any text at all."""

import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from k2lib.gym.answers import LONGEST, begins, number

ESCAPES = {"\\n": "\n", "\\t": "\t", "\\\\": "\\"}


def table(name: str) -> list[tuple[int, str]]:
    rows = []
    for line in Path(__file__).with_name(name).read_text(encoding="utf-8").splitlines():
        value, _, text = line.partition(" | ")
        for written, meant in ESCAPES.items():
            text = text.replace(written, meant)
        rows.append((int(value), text))
    assert len(rows) >= 200
    return rows


def test_what_states_the_number_is_accepted():
    assert [text for value, text in table("answers_right.txt") if number(text) != value] == []


def test_what_states_another_or_none_or_several_is_not():
    assert [(value, text) for value, text in table("answers_wrong.txt") if number(text) == value] == []


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("Oslo", True),
        ("oslo.", True),
        ("**Oslo**", True),
        ('"Oslo"', True),
        ("Oslo, in Norway", True),
        ("Oslo (Norway)", True),
        ("Oslo\nQuestion: Who", True),
        ("Oslo's", False),
        ("Oslofjord", False),
        ("Oslo-Gardermoen", False),
        ("Oslo or Bergen", False),
        ("Oslo / Bergen", False),
        ("Oslo, or Bergen", False),
        ("Oslo and Bergen", False),
        ("Oslo?", False),
        ("Oslo, maybe", False),
        ("not Oslo", False),
        ("", False),
        ("<think>Oslo", False),
        ("<think>Bergen</think>Oslo", True),
        (None, False),
        (7, False),
        ("Oslo" + " " * LONGEST, False),
    ],
)
def test_an_answer_begins_with_the_whole_word(answer, right):
    assert begins(answer, "Oslo") is right


def test_a_year_is_not_found_in_a_longer_number():
    assert begins("1917", "1917") and not begins("19170", "1917") and not begins("1917-18", "1917")
    assert not begins("1917.5", "1917") and not begins("1917²", "1917")


@pytest.mark.parametrize("answer", [None, 7, b"7", ["7"], "7" + " " * 3000 + "8", "7" * 31, "7" + "x" * LONGEST])
def test_what_is_no_text_or_hides_a_second_number_states_nothing(answer):
    assert number(answer) is None


@given(st.one_of(st.text(), st.text("0123456789-−,.*^ =()\\boxed{}answer:/or", max_size=60)))
@example("7" + "," * 1000)
def test_any_text_is_read_without_an_exception(text):
    value = number(text)
    assert value is None or any(c.isdigit() for c in text)
    begins(text, "7")


@pytest.mark.parametrize("piece", ["7", "1,", "*", "7 ", "answer", "\\boxed{", "'", "and "])
def test_reading_takes_linear_time(piece):
    def seconds(n):
        begun = time.process_time()
        number((piece * n)[:n])
        return time.process_time() - begun

    seconds(LONGEST // 10)
    assert seconds(LONGEST) < 60 * max(seconds(LONGEST // 10), 1e-3)

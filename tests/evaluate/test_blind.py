"""What one answer solves of all problems of a kind, whatever they ask."""

import types

import pytest

from k2lib.evaluate.blind import blind
from k2lib.gym.mixture import several
from k2lib.stages.warmup import ASIDE, LEARNED


def asks(answer: str, also: str = ""):
    return types.SimpleNamespace(answer=answer, right=lambda given: given in (answer, also))


def test_it_is_the_share_of_the_answer_that_solves_most():
    assert blind([asks("1"), asks("1"), asks("2"), asks("3")]) == 0.5
    assert blind([asks("1"), asks("2"), asks("3"), asks("4")]) == 0.25


def test_an_answer_counts_wherever_it_is_right_not_only_where_it_is_the_one_that_was_meant():
    assert blind([asks("a", also="b"), asks("b"), asks("c", also="b"), asks("c")]) == 0.75


def test_letters_can_be_had_without_counting_and_tables_cannot():
    worth = {kind: blind(several((kind,), 60, 3)) for kind in ("letters", "tables")}
    assert worth["letters"] > 0.6 and worth["tables"] < 0.2


@pytest.mark.parametrize("kind", LEARNED + ASIDE)
def test_every_kind_of_rl_has_such_a_number(kind):
    assert 0 < blind(several((kind,), 12, 3)) <= 1


def test_no_problem_is_refused():
    with pytest.raises(ValueError, match="no problem is given"):
        blind([])

"""Problems for training and examination: none twice, none that an earlier draw had, no answer for most of them."""

from collections import Counter

import pytest

from k2lib.evaluate.blind import blind
from k2lib.gym.fair import fair
from k2lib.stages.warmup import LEARNED

KINDS = [
    name for name in LEARNED if name not in ("syllogisms", "products")
]  # of two answers; of nine held-out questions


@pytest.mark.parametrize("name", KINDS)
def test_no_question_comes_twice_and_no_answer_most_of_the_time(name):
    problems = fair(name, 24, 1)
    assert len({one.asks for one in problems}) == len(problems) == 24
    assert max(Counter(one.answer for one in problems).values()) <= 8


def test_letters_must_be_counted():
    assert blind(fair("letters", 60, 1)) <= 0.34
    assert blind(fair("letters", 60, 1, most=1.0)) > 0.6


def test_it_repeats_with_its_seed_and_the_next_seed_asks_something_else():
    first, again, other = ({one.asks for one in fair("divisors", 40, seed, level=1)} for seed in (1, 1, 2))
    assert first == again and len(first & other) < 8


def test_what_was_asked_elsewhere_is_left_out():
    before = {one.asks for one in fair("products", 40, 1)}
    assert not before & {one.asks for one in fair("products", 30, 1, but=before)}


def test_training_and_examination_share_no_question():
    train, test = ({one.asks for one in fair("sums", 25, 1, split)} for split in ("train", "test"))
    assert not train & test


def test_too_few_questions_are_refused_with_their_number():
    with pytest.raises(ValueError, match=r"products, level 0, split 'test': 9 problems .* not 40; take a higher level"):
        fair("products", 40, 1, "test")
    with pytest.raises(ValueError, match="syllogisms"):
        fair("syllogisms", 30, 1)
    assert len(fair("syllogisms", 30, 1, most=0.5)) == 30

"""Which problems come next: by difficulty, by what is solved lately, or all in turn."""

from collections import Counter

import pytest

from k2lib.rl.curriculum import choose, moderate

POOL = list(range(10))
RATES = [i / 10 for i in range(10)]  # problem 0 is the hardest


def chosen(sampling, count=3, drawn=0, share=0.0, seed=0, now=RATES):
    return choose(sampling, POOL, RATES, now, count, drawn, share, seed)


def test_problems_of_moderate_difficulty_come_first_and_others_fill_up():
    assert moderate([0.0, 0.5, 1.0, 0.25], 2) == ([1, 3], 2)
    assert moderate([0.0, 0.5, 1.0], 3) == ([1, 0, 2], 1)


def test_uniform_goes_through_all_before_any_comes_again():
    drawn = [i for place in range(0, 20, 4) for i in chosen("uniform", 4, place)]
    assert sorted(drawn[:10]) == sorted(drawn[10:]) == POOL and drawn[:10] != drawn[10:]
    assert chosen("uniform", 8) != chosen("uniform", 8, seed=1)


def test_the_curriculum_goes_from_easy_to_hard():
    early, late = chosen("curriculum", 5, share=0.0), chosen("curriculum", 5, share=1.0)
    assert sorted(early) == [5, 6, 7, 8, 9] and sorted(late) == [0, 1, 2, 3, 4]
    assert sorted(chosen("curriculum", 8, share=0.5)) == sorted(set(chosen("curriculum", 8, share=0.5)))


def test_what_is_seldom_solved_lately_is_drawn_more_often():
    counts = Counter(i for place in range(2000) for i in chosen("prioritised", 1, place))
    total = sum(1 - rate for rate in RATES)
    for i in POOL:
        assert counts[i] / 2000 == pytest.approx((1 - RATES[i]) / total, abs=0.04)
    solved = [1.0] * 9 + [0.0]
    assert all(chosen("prioritised", 1, place, now=solved) == [9] for place in range(20))


def test_another_name_is_refused():
    with pytest.raises(ValueError, match="unknown sampling 'best'; choose one of uniform, curriculum, prioritised"):
        chosen("best")

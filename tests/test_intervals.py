"""Intervals against scipy's own, and against how often they hold the truth."""

import numpy as np
import pytest
from scipy import stats

from k2lib.intervals import columns, interval, share


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_seeds_have_students_interval(level):
    values = [0.3, -0.1, 0.4, 0.25, 0.0]
    found = interval(values, "seeds", level)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(level)
    assert (found.value, found.n) == (pytest.approx(0.17), 5)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.kind == f"{level:.0%}, Student's t over seeds"


def test_one_seed_has_no_interval():
    found = interval([0.3], "seeds")
    assert (found.value, found.low, found.high, found.n) == (0.3, None, None, 1)


@pytest.mark.parametrize(("right", "n"), [(0, 20), (20, 20), (7, 12), (50, 100)])
def test_shares_have_wilsons_interval(right, n):
    found = interval([1] * right + [0] * (n - right), "shares")
    expected = stats.binomtest(right, n).proportion_ci(0.95, "wilson")
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert found.n == n


def test_a_share_of_nothing_is_anything():
    assert share([]) == (0.0, 0.0, 1.0)
    assert share([1, 0]) == (0.5, *[pytest.approx(end, abs=1e-4) for end in (0.0945, 0.9055)])


def test_pairs_are_drawn_over_items_and_over_seeds():
    generator = np.random.default_rng(3)
    items = generator.normal(size=(1, 200))
    alike = interval(np.repeat(items, 4, 0), "pairs")
    apart = interval(np.repeat(items, 4, 0) + np.array([[-1.0], [-0.3], [0.3], [1.0]]), "pairs")
    half = 1.96 * items.std() / 200**0.5
    assert (alike.high - alike.low) / 2 == pytest.approx(half, rel=0.1)
    assert (apart.high - apart.low) > 3 * (alike.high - alike.low)
    assert (alike.n, alike.kind) == (4, "95%, bootstrap over items and seeds")
    assert interval(items, "pairs").kind == "95%, bootstrap over the items of one seed"


def test_a_90_percent_interval_of_seeds_holds_the_truth_nine_times_in_ten():
    generator = np.random.default_rng(0)
    drawn = [interval(generator.normal(1.0, 2.0, 4), "seeds", 0.9) for _ in range(1000)]
    assert 0.87 < np.mean([found.low < 1.0 < found.high for found in drawn]) < 0.93


def test_a_number_has_no_interval():
    found = interval(31.69, "number")
    assert (found.value, found.low, found.high, found.n, found.kind) == (31.69, None, None, 1, "counted")


@pytest.mark.parametrize(
    ("values", "of", "complaint"),
    [
        ([1.0], "means", "one of number, seeds, items, shares, pairs"),
        ([], "seeds", "at least one"),
        ([float("nan")], "seeds", "finite"),
        ([[1.0]], "seeds", "1 dimensions"),
        ([1.0, 2.0], "number", "0 dimensions"),
        ([[1.0, 2.0], [1.0]], "pairs", "rows of equal length"),
        (["many"], "shares", "must be numbers"),
        ([2.0], "shares", "between 0 and 1"),
    ],
)
def test_what_cannot_be_judged_is_refused(values, of, complaint):
    with pytest.raises(ValueError, match=complaint):
        interval(values, of)


def test_columns_are_the_intervals_of_several_groups():
    found = columns([[0.1, 0.2, 0.3], [0.5]], "seeds", 0.9, scale=1000)
    assert found["value"] == pytest.approx([200, 500]) and found["high"][1] == pytest.approx(500)
    assert found["low"][0] == pytest.approx(1000 * interval([0.1, 0.2, 0.3], "seeds", 0.9).low)

"""What page 07 makes of RL's arms: pairs by problem, pass@k, what is remembered, how far it falls, and the critic."""

import pytest

from k2lib import profiles
from k2lib.chapters import rl_arms
from k2lib.evaluate.attempts import pass_at
from k2lib.progress import silent

KINDS = ["mathematics", "tables", "fractions"]


def run(solved, **more):
    return {"kinds": KINDS, "solved": solved, "greedy": [True, False, True]} | more


def test_rates_are_of_the_kinds_that_rl_trains_unless_others_are_named():
    one = run([4, 8, 16])
    assert rl_arms.rates(one) == [0.25, 0.5] and rl_arms.rates(one, ["fractions"]) == [1.0]
    assert rl_arms.rates(one, which="greedy") == [1, 0]


def test_an_arm_is_set_against_the_start_or_against_the_same_run_of_another():
    arms = {
        "start": [run([0, 8, 0])],
        "K2": [run([16, 8, 0]), run([8, 16, 0])],
        "GRPO": [run([16, 0, 0]), run([0, 16, 0])],
    }
    assert rl_arms.gained(arms, "start", "K2") == [[1.0, 0.0], [0.5, 0.5]]
    assert rl_arms.gained(arms, "GRPO", "K2") == [[0.0, 0.5], [0.5, 0.0]]


def test_pass_at_k_is_of_the_trained_kinds():
    (found,) = rl_arms.chances([run([1, 16, 0])], [1, 4, 16])
    assert found == pytest.approx([(pass_at(k, [1], 16)[0] + 1) / 2 for k in (1, 4, 16)])


def test_what_is_remembered_is_the_mean_of_three_shares():
    assert rl_arms.remembered(run([16, 16, 8], tasks=[1, 0, 0, 0], knowledge=[1, 1, 0, 0])) == pytest.approx(
        (0.5 + 0.25 + 0.5) / 3
    )


def test_how_far_success_falls_counts_from_its_best():
    assert rl_arms.fallen({"development": [[0, 0.3], [4, 0.5], [8, 0.2]]}) == pytest.approx(0.3)
    assert rl_arms.fallen({"development": [[0, 0.3], [4, 0.5]]}) == 0


def test_tokens_that_are_spared_and_pairs_that_are_told_apart():
    assert rl_arms.spared({"tokens": [30, 10]}, {"tokens": [20, 10]}) == pytest.approx(0.25)
    told = {"agreement": [[0.0, 0.1], [0.2, None], [0.6, 0.7], [None, 0.9]]}
    assert (rl_arms.told_apart(told, 0), rl_arms.told_apart(told, 1)) == (0.6, pytest.approx(0.8))
    assert rl_arms.told_apart({"agreement": [[0.9, 0.9], [0.4, None]]}, 1) == 0.5


def test_nothing_is_measured_where_the_profile_has_no_size_for_it():
    for measure in (rl_arms.arms, rl_arms.steady, rl_arms.blindly, rl_arms.pull, rl_arms.one_learned, rl_arms.critics):
        assert measure(profiles.SMOKE, 0, silent) is None


def test_the_problem_that_is_shown_is_the_one_that_gained_most(monkeypatch):
    said = {"asks": ["a", "b", "c"], "said": [["x"], ["y"], ["z"]], "right": [[False], [False], [True]]}
    after = said | {"said": [["x"], ["Y"], ["z"]], "right": [[False], [True], [True]]}
    asked = {None: run([3, 2, 9]) | said, "K2": run([4, 14, 9]) | after}
    monkeypatch.setattr(rl_arms.stages, "rl_exam", lambda _profile, name, *_: asked[name])
    found = rl_arms.one_learned(profiles.STUDY, 0, silent)
    assert found == {"asks": "b", "kind": "tables", "before": [("y", False)], "after": [("Y", True)]}


def test_what_one_answer_solves_is_of_the_problems_that_every_arm_is_examined_on():
    found = rl_arms.blindly(profiles.STUDY, 0, silent)
    assert set(rl_arms.LEARNED) < set(found) and len(found) == len(rl_arms.LEARNED) + 3
    assert found["letters"] > 0.6 and found["tables"] < 0.2


def test_a_question_that_was_asked_twice_counts_once():
    examined = {"asks": ["1 + 1", "2 + 2", "1 + 1"], "knowledge": [1], "tasks": [0], "perplexity": 3.0}
    examined |= {"kinds": ["sums", "sums", "sums"], "solved": [4, 5, 6], "tokens": [1.0, 2.0, 3.0]}
    told = rl_arms._told(examined | {"greedy": [1, 0, 1], "roomy": [1, 1, 1]})
    assert told["solved"] == [4, 5] and told["tokens"] == [1.0, 2.0] and told["kinds"] == ["sums"] * 2
    assert told["knowledge"] == [1] and told["perplexity"] == 3.0

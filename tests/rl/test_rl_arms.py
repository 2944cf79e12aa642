"""The arms of RL: one thing each, at equal episodes, examined alike; and pass@k."""

import dataclasses
import importlib
import math

import pytest
import torch

from k2lib import machine, profiles, stages
from k2lib.chapters import rl_arms as page
from k2lib.evaluate.attempts import pass_at
from k2lib.gym.mixture import several
from k2lib.gym.outcome import Outcome
from k2lib.gym.play import play
from k2lib.progress import silent
from k2lib.rl.iteration import slope
from k2lib.stages import RL_ARMS, rl_arms
from k2lib.stages.sft_data import SFTData
from k2lib.stages.warmup import ASIDE, LEARNED, worked


def test_pass_at_k_is_the_share_of_draws_that_hold_a_right_answer():
    assert pass_at(1, [0, 4, 16], 16) == [0.0, 0.25, 1.0]
    assert pass_at(16, [0, 1], 16) == [0.0, 1.0]
    assert pass_at(2, [1], 4) == [pytest.approx(1 - math.comb(3, 2) / math.comb(4, 2))]
    for wrong in ((0, [1], 4), (5, [1], 4), (1, [5], 4)):
        with pytest.raises(ValueError, match="lie within their number"):
            pass_at(*wrong)


def test_every_arm_changes_one_setting_and_none_the_number_of_episodes():
    usual = profiles.STUDY.rl_arms.rl
    for name, changes in RL_ARMS.items():
        size = dataclasses.replace(usual, **changes)
        assert len(changes) == (name not in ("K2", rl_arms.TIGHT))
        assert all(getattr(size, key) == getattr(usual, key) for key in ("steps", "prompts", "samples", "epochs", "lr"))
        assert not changes or size != usual, name


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """A profile whose whole chain takes seconds."""
    monkeypatch.setenv("K2_ARTIFACTS", str(tmp_path))
    monkeypatch.setattr(importlib.import_module("k2lib.stages.rl_exam"), "SAMPLES", 4)
    model = profiles.SMOKE.model | dict(vocab_size=512, hidden_size=32, num_hidden_layers=2, n_routed_experts=4)
    short = profiles.TrainSize(2, 3, 32, 1e-2, 1)
    return dataclasses.replace(
        profiles.SMOKE,
        model=model,
        corpus=profiles.CorpusSize(250_000, 6, 2, 60, 8, 512, 20, shard_tokens=1 << 14),
        pretrain=short,
        copy=short,
        recite=short,
        sft=dataclasses.replace(short, seq_len=1024),
        agentic=profiles.AgenticSize(categories=2, children=0, per_domain=2, tasks=60, heldout_tasks=4),
        rl_arms=profiles.RLArmsSize(
            worked=3,
            warmup=dataclasses.replace(short, seq_len=1024),
            rl=dataclasses.replace(
                profiles.STUDY.rl_arms.rl, steps=2, prompts=2, samples=2, candidates=18, development=9, check_every=2
            ),
            asked=1,
            tasks=2,
            seeds=1,
            trainings=1,
        ),
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["GRPO", "without PTX", "with pauses", rl_arms.TIGHT])
def test_an_arm_goes_from_corpus_to_result(tiny, monkeypatch, name):
    given, real = [], rl_arms.train_rl
    monkeypatch.setattr(rl_arms, "train_rl", lambda *all_, **how: given.append(all_) or real(*all_, **how))
    found, history = stages.rl_exam(tiny, name, 0, 1), stages.rl_arm(tiny, name, 0, 1).training["history"]
    _, tokenizer, problems, _, ptx, size = given[0]
    assert (ptx is None) == (name == "without PTX") and (size.objective == "grpo") == (name == "GRPO")
    tight = [one.budget == len(tokenizer.encode(one.problem.answer)) + 1 for one in problems if name == rl_arms.TIGHT]
    assert all(tight) and len(history) == 2
    count = len(LEARNED + ASIDE)
    assert len(set(found["kinds"])) == len(found["solved"]) == len(found["roomy"]) == len(found["said"]) == count
    assert all(0 <= solved <= 4 for solved in found["solved"]) and found["perplexity"] > 1 and len(found["tasks"]) == 2
    assert stages.rl_exam(tiny, name, 0, 1) == found and len(given) == 1  # the second time from the store
    assert stages.rl_exam(tiny, None, 0)["kinds"] == found["kinds"]


@pytest.mark.slow
def test_the_closed_loop_and_the_frozen_critic_begin_alike(tiny, monkeypatch):
    for name, value in (("STEPS", 2), ("ASKED", 4), ("PROBLEMS", 1)):
        monkeypatch.setattr(importlib.import_module("k2lib.stages.rl_critic"), name, value)
    closed, frozen = (stages.rl_critic(tiny, loop, 0, 1) for loop in (True, False))
    assert len(closed["judged"]) == len(closed["agreement"]) == len(frozen["reward"]) == 2
    assert closed["verifiable"][0] == frozen["verifiable"][0] and closed["agreement"][0] == frozen["agreement"][0]


@pytest.mark.slow
def test_a_training_is_repeated_in_either_dtype(tiny, monkeypatch):
    monkeypatch.setenv("K2_DTYPE", "float32")
    found, seen = page.steady(tiny, 0, silent), []
    real = rl_arms.train_rl
    assert list(found) == ["float32", "bfloat16"] and all(len(runs) == 1 for runs in found.values())
    assert (
        stages.rl_arm(tiny, "K2").training["history"] == stages.rl_arm(tiny, "K2", dtype="float32").training["history"]
    )
    monkeypatch.setattr(
        rl_arms, "train_rl", lambda *all_, **how: seen.append(machine.compute_dtype()) or real(*all_, **how)
    )
    stages.rl_arm(tiny, "K2", 0, 1, dtype="bfloat16")
    assert seen == ["bfloat16"] and machine.compute_dtype() == "float32"


@pytest.mark.slow
def test_more_passes_go_further_towards_the_target(tiny, monkeypatch):
    def played(*given, **how):
        """As the model plays, but every second episode is right: what a tiny model says hardly ever is."""
        groups = play(*given, **how)
        for number, one in enumerate(one for group in groups for one in group):
            one.truncated, one.outcome = False, Outcome("pass" if number % 2 else "fail", float(number % 2), "")
        return groups

    monkeypatch.setenv("K2_DTYPE", "float32")
    monkeypatch.setattr(page, "PASSES", (1, 8))
    monkeypatch.setattr(page, "play", played)
    found, size = page.pull(tiny, 0, silent), tiny.rl_arms.rl
    assert list(found) == ["1 passes", "8 passes"]
    assert all(len(one) == size.prompts * size.samples for one in found.values())
    first, last = (slope(*torch.tensor(one).T) for one in found.values())
    assert last > first and last > 0


def test_the_warm_up_shows_right_answers_of_every_family_and_keeps_some_rows():
    data = SFTData([{"kind": "kept", "messages": [], "tools": []}] * 5, [], [], {}, None)
    rows = worked(4, data, 0)
    assert {row["kind"] for row in rows} == {one.kind for one in several(LEARNED + ASIDE, 12, 0)} | {"kept"}
    assert all(row["kind"] == "kept" or row["verdict"]["passed"] for row in rows)
    asked = {row["messages"][0]["content"] for row in rows if row["messages"]}
    assert not asked & {one.messages[0]["content"] for one in several(LEARNED + ASIDE, 240, 0, "test")}


def test_several_families_come_in_turn_and_an_unknown_one_is_refused():
    names = ("tables", "divisors", "following")
    drawn = several(names, 7, 3, "development")
    assert [one.kind for one in drawn] == (["tables", "divisors", "instruction following"] * 3)[:7]
    with pytest.raises(ValueError, match="unknown family"):
        several(("tables", "chess"), 4, 0)

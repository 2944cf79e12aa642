"""The arms of RL: one thing each, at equal episodes, examined alike; and pass@k."""

import dataclasses
import math

import pytest

from k2lib import profiles, stages
from k2lib.evaluate.attempts import pass_at
from k2lib.stages import RL_ARMS, rl_arms


def test_pass_at_k_is_the_share_of_draws_that_hold_a_right_answer():
    assert pass_at(1, [0, 4, 16], 16) == [0.0, 0.25, 1.0]
    assert pass_at(16, [0, 1], 16) == [0.0, 1.0]
    assert pass_at(2, [1], 4) == [pytest.approx(1 - math.comb(3, 2) / math.comb(4, 2))]
    for wrong in ((0, [1], 4), (5, [1], 4), (1, [5], 4)):
        with pytest.raises(ValueError, match="lie within their number"):
            pass_at(*wrong)


def test_every_arm_changes_one_setting_and_none_the_number_of_episodes():
    usual = profiles.SMOKE.rl
    for name, changes in RL_ARMS.items():
        size = dataclasses.replace(usual, **changes)
        assert len(changes) == (name != "K2")
        assert all(getattr(size, key) == getattr(usual, key) for key in ("steps", "prompts", "samples", "epochs", "lr"))
        assert name == "K2" or size != usual, name


@pytest.mark.slow
@pytest.mark.parametrize("name", ["GRPO", "without PTX"])
def test_an_arm_goes_from_corpus_to_result(monkeypatch, tmp_path, name):
    monkeypatch.setenv("K2_ARTIFACTS", str(tmp_path))
    monkeypatch.setattr(rl_arms, "SAMPLES", 4)
    model = profiles.SMOKE.model | dict(vocab_size=512, hidden_size=32, num_hidden_layers=2, n_routed_experts=4)
    short = profiles.TrainSize(2, 3, 32, 1e-2, 1)
    tiny = dataclasses.replace(
        profiles.SMOKE,
        model=model,
        corpus=profiles.CorpusSize(250_000, 6, 2, 60, 8, 512, 20, shard_tokens=1 << 14),
        pretrain=short,
        copy=short,
        recite=short,
        sft=dataclasses.replace(short, seq_len=1024),
        agentic=profiles.AgenticSize(categories=2, children=0, per_domain=2, tasks=60, heldout_tasks=4),
        rl=dataclasses.replace(
            profiles.SMOKE.rl,
            steps=2,
            prompts=2,
            samples=2,
            candidates=6,
            development=2,
            heldout=4,
            check_every=2,
            epochs=2,
        ),
    )
    given, real = [], rl_arms.train_rl
    monkeypatch.setattr(rl_arms, "train_rl", lambda *all_, **how: given.append(all_) or real(*all_, **how))
    found = stages.rl_arm(tiny, name, 0, 1)
    *_, ptx, size = given[0]
    assert (ptx is None) == (name == "without PTX") and (size.objective == "grpo") == (name == "GRPO")
    assert len(found["history"]) == 2 and len(found["kinds"]) == len(found["solved"]) == len(found["roomy"]) == 4
    assert all(0 <= count <= 4 for count in found["solved"]) and found["perplexity"] > 1
    assert stages.rl_arm(tiny, name, 0, 1) == found and len(given) == 1  # the second time from the store

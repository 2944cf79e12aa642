"""The base model in three phases: killed in the last one, it ends with the same weights."""

import dataclasses

import pytest
import torch

from k2lib import profiles, stages
from k2lib.stages import training
from k2lib.train import Snapshot, loop

SMOKE = profiles.SMOKE
TINY = dataclasses.replace(
    SMOKE,
    model=SMOKE.model | dict(vocab_size=512, hidden_size=32, num_hidden_layers=2, n_routed_experts=4),
    corpus=dataclasses.replace(
        SMOKE.corpus, stdlib_bytes=20_000, people=6, math_problems=60, vocab_size=512, recitals=20
    ),
    pretrain=profiles.TrainSize(3, 4, 32, 1e-2, 1),
    copy=profiles.TrainSize(2, 3, 32, 1e-2, 1),
    recite=profiles.TrainSize(4, 3, 32, 1e-2, 1),
)


@pytest.mark.slow
def test_a_base_that_was_killed_in_its_last_phase_ends_with_the_same_weights(monkeypatch, tmp_path):
    monkeypatch.setattr(training, "Snapshot", lambda path: Snapshot(path, every_seconds=0.0))
    monkeypatch.setenv("K2_ARTIFACTS", str(tmp_path / "whole"))
    whole = stages.base(TINY)
    assert [len(whole.training[name]) for name in ("history", "copying", "recitals")] == [3, 2, 4]

    steps, real = [], loop.update

    def killed(*arguments):
        steps.append(1)
        if len(steps) == 8:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setenv("K2_ARTIFACTS", str(tmp_path / "killed"))
    monkeypatch.setattr(loop, "update", killed)
    with pytest.raises(KeyboardInterrupt):
        stages.base(TINY)
    assert len(list((tmp_path / "killed" / "snapshots").glob("*.pt"))) == 3
    again = stages.base(TINY)
    assert len(steps) == 10  # three, two, two of the last phase, the one that was killed, and the two that were left
    for one, other in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert [r["loss"] for r in again.training["recitals"]] == [r["loss"] for r in whole.training["recitals"]]
    assert not list((tmp_path / "killed" / "snapshots").glob("*.pt"))

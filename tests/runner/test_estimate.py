"""What a run is expected to need: counted, scaled by the machine, said beforehand, corrected while it runs."""

import pytest
import torch

from k2lib import machine, profiles, stages
from k2lib.machine import Rates
from k2lib.model import K2Model
from k2lib.optim import MuonClip
from k2lib.runner import chain, estimate
from k2lib.runner.bar import Bar
from k2lib.runner.plan import NOTEBOOKS, steps

pytestmark = pytest.mark.usefixtures("artifacts")


def here(monkeypatch, gflops: float) -> None:
    monkeypatch.setenv("K2_DTYPE", "float32")
    rates = Rates({"float32": gflops, "bfloat16": 1.0}, 10.0)
    monkeypatch.setattr(machine, "rates", lambda *_: rates)


@pytest.mark.parametrize("name", profiles.PROFILES)
def test_every_notebook_of_every_profile_has_an_estimate(name):
    assert list(estimate.seconds(profiles.get(name))) == [step.name for step in steps(name, NOTEBOOKS)]


def test_a_slower_machine_needs_longer_and_the_laptop_chain_stays_below_three_hours(monkeypatch):
    totals = []
    for gflops in (400.0, 65.0):
        here(monkeypatch, gflops)
        totals.append(sum(estimate.seconds(profiles.get("laptop")).values()))
    assert totals[0] < 3600 and totals[0] < totals[1] < 3 * 3600


def test_the_estimate_for_a_recorded_machine_takes_its_rates_and_measures_nothing(monkeypatch):
    here(monkeypatch, 65.0)
    own = estimate.seconds(profiles.get("laptop"))
    monkeypatch.setattr(machine, "rates", None)  # would raise
    record = {"dtype": "float32", "gflops": {"float32": 65.0, "bfloat16": 1.0}, "bandwidth": 10.0}
    assert estimate.seconds(profiles.get("laptop"), record) == own


def test_counted_flops_are_those_that_pytorch_counts():
    from torch.utils.flop_counter import FlopCounterMode

    config, batch, length = stages.config(profiles.get("smoke")), 4, 64
    model = K2Model(config).train()
    optimizer = MuonClip.for_model(model, lr=1e-3, ns_dtype=torch.float32)
    tokens = torch.randint(0, config.vocab_size, (batch, length + 1))
    with FlopCounterMode(display=False) as counter:
        model.loss(tokens[:, :-1], tokens[:, 1:]).backward()
        optimizer.step()
    counted = estimate.training(config, 1, batch, length).flops
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.3)


def test_what_lies_ahead_is_said_and_a_long_run_is_pointed_to_smoke(monkeypatch):
    here(monkeypatch, 33.0)
    names = ["03_muonclip", "99_unknown"]
    short = chain._announcement(names, {"03_muonclip": 750.0}, 2)
    assert "33 GFLOP/s in float32 on 2 threads; expected here" in short and "03_muonclip               12:30" in short
    assert "smoke" not in short
    assert "More than 2 hours; `make reproduce PROFILE=smoke`" in chain._announcement(names, {"03_muonclip": 7500.0}, 2)
    assert chain._announcement(["99_unknown"], {}, 2) == ""


def test_time_left_grows_with_a_notebook_that_is_late(tmp_path):
    plan = steps("smoke", NOTEBOOKS)[:3]
    bar = Bar(plan, {step.name: 100.0 for step in plan}, tmp_path / "progress.json")
    assert bar.left(plan[0], 50) == "about 4:10 left"
    assert bar.left(plan[0], 200) == "about 6:40 left"  # twice as long as expected: so will the others be
    bar.finished(plan[0], 50)
    assert bar.left(plan[1], 0) == "about 1:40 left"

"""What the studies compute from their runs."""

import dataclasses

import pytest
import torch

from k2lib import K2Config
from k2lib.corpus import packing
from k2lib.profiles import SMOKE
from k2lib.progress import silent
from k2lib.studies import growth, routing, sensitivity
from k2lib.studies.spikes import count_spikes


def test_a_spike_is_counted_and_a_smooth_run_has_none():
    smooth = [3.0 - 0.01 * i + 0.001 * (i % 3) for i in range(200)]
    assert count_spikes(smooth) == 0
    assert count_spikes([*smooth[:150], 9.0, *smooth[151:]]) == 1


def test_growth_and_contact_are_read_from_the_right_steps():
    run = [1.0, 8.0, 12.0, 18.0, 9.0]  # 8 is below 10: its growth of 1.5 does not count, that of 12 does
    assert growth.one_step_growth(run, above=10.0) == 1.5
    assert growth.one_step_growth(run, above=99.0) == 1.0
    assert growth.after_contact(run, tau=10.0) == [18.0, 9.0]
    assert growth.after_contact(run, tau=99.0) == []


def test_a_spike_lies_six_robust_deviations_above_the_median():
    noise = [2.0, 3.0, 4.0] * 20  # median 3, median deviation 1: a robust deviation of 1.4826
    assert count_spikes([*noise, 3 + 7 * 1.4826]) == 1
    assert count_spikes([*noise, 3 + 5 * 1.4826]) == 0


def test_planted_spikes_are_found_by_their_height():
    noise = [3.0 + 0.01 * (i % 5) for i in range(200)]
    assert sensitivity.found_share(noise, 1.0) == 1 and sensitivity.found_share(noise, 0.001) == 0
    assert sensitivity.planted([1.0] * 5, 2.0, at=1)[:2] == [1.0, 3.0]
    assert sensitivity.planted([1.0] * 5, 2.0, at=1)[4] == 2.0  # three steps later, half of it is left
    with pytest.raises(ValueError, match="too few to plant a spike"):
        sensitivity.found_share(noise[:60], 1.0)


def test_the_arms_of_the_routing_study_differ_in_the_bias_alone_and_are_judged_at_their_end(shards):
    size = dataclasses.replace(SMOKE.routing, steps=3, batch_size=2, seq_len=32)
    config = K2Config.preset("nano").replace(**SMOKE.model | {"vocab_size": 320})
    run = routing.measure(config, packing.PackedDataset(shards), dataclasses.replace(SMOKE, routing=size), 0, silent)
    assert run["no balancing"][0] == run["selection bias"][0] and run["no balancing"] != run["selection bias"]
    profile = dataclasses.replace(SMOKE, routing=dataclasses.replace(size, steps=20))
    steps = {"no balancing": [9.0] * 18 + [4.0, 6.0], "selection bias": [9.0] * 18 + [1.0, 1.5]}
    assert routing.values(profile, [steps]) == {"selection-bias-balances": [0.25]}


def test_specialisation_is_the_share_by_which_two_kinds_choices_differ():
    same, apart = torch.tensor([[0.5, 0.5], [0.5, 0.5]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert routing.specialisation(same) == 0 and routing.specialisation(apart) == 1
    assert routing.specialisation(torch.tensor([[0.5, 0.5], [0.25, 0.75], [0.5, 0.5]])) == pytest.approx(1 / 6)

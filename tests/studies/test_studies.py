"""What the studies compute from their runs."""

from k2lib.studies import clip
from k2lib.studies.spikes import count_spikes


def test_a_spike_is_counted_and_a_smooth_run_has_none():
    smooth = [3.0 - 0.01 * i + 0.001 * (i % 3) for i in range(200)]
    assert count_spikes(smooth) == 0
    assert count_spikes([*smooth[:150], 9.0, *smooth[151:]]) == 1


def test_growth_and_contact_are_read_from_the_right_steps():
    run = [1.0, 8.0, 12.0, 18.0, 9.0]  # 8 is below 10: its growth of 1.5 does not count, that of 12 does
    assert clip.one_step_growth(run, above=10.0) == 1.5
    assert clip.one_step_growth(run, above=99.0) == 1.0
    assert clip.after_contact(run, tau=10.0) == [18.0, 9.0]
    assert clip.after_contact(run, tau=99.0) == []

"""Pipelines on a clock against their closed forms."""

import itertools
from collections import Counter

import pytest

from k2lib.parallel.schedules import (
    BACKWARD,
    FORWARD,
    WEIGHTS,
    Schedule,
    Work,
    dual_pipe,
    interleaved,
    one_f_one_b,
    play,
)

SIZES = [(4, 8), (4, 16), (16, 32)]


@pytest.mark.parametrize("devices, micro_batches", SIZES)
@pytest.mark.parametrize("parts", [1, 2, 4])
def test_the_bubble_of_1f1b_is_the_closed_form(devices, micro_batches, parts):
    found = play(interleaved(devices, micro_batches, parts))
    assert found.bubble == pytest.approx((devices - 1) / (parts * micro_batches + devices - 1))


def test_1f1b_holds_as_many_micro_batches_as_stages_remain():
    assert play(one_f_one_b(4, 8)).held == [4, 3, 2, 1]
    assert (
        play(interleaved(4, 8, 2)).held[0] == (2 * 3 + 4 + 1) / 2
    )  # (the warm-up and one more) pieces of half the layers


@pytest.mark.parametrize("devices, micro_batches", SIZES)
def test_dual_pipe_waits_less_holds_one_more_and_two_copies(devices, micro_batches):
    schedule = dual_pipe(devices, micro_batches)
    found, plain = play(schedule), play(one_f_one_b(devices, micro_batches))
    assert schedule.copies == 2 and max(found.held) == devices + 1
    assert found.bubble < plain.bubble / 3
    assert all(abs(a - b) < 1e-9 for a, b in zip(found.held, reversed(found.held), strict=True))  # symmetric


@pytest.mark.parametrize(
    "schedule", [one_f_one_b(4, 8), interleaved(4, 8, 2), interleaved(4, 8, 2, 3), dual_pipe(4, 8)]
)
def test_every_micro_batch_goes_once_through_every_stage_both_ways_and_nobody_does_two_things_at_once(schedule):
    found = play(schedule)
    counts = Counter((s.work.kind, s.work.stage, s.work.micro_batch, s.work.way) for s in found.spans)
    ways = schedule.copies
    for kind in (FORWARD, BACKWARD):
        wanted = itertools.product((kind,), range(schedule.stages), range(8 // ways), range(ways))
        assert all(counts[one] == 1 for one in wanted)
    split = [s for s in found.spans if s.work.split]
    assert sum(s.work.kind == WEIGHTS for s in found.spans) == len(split)
    assert sum(s.end - s.start for s in found.spans) == pytest.approx(3 * 8 * len(schedule.orders))
    for device in range(len(schedule.orders)):
        mine = sorted((s.start, s.end) for s in found.spans if s.device == device)
        assert all(before[1] <= after[0] + 1e-9 for before, after in itertools.pairwise(mine))


def test_more_warm_up_holds_more_and_leaves_a_forward_pass_between():
    plain, more = play(interleaved(4, 8, 2)), play(interleaved(4, 8, 2, extra=1))
    assert max(more.held) == max(plain.held) + 0.5 and more.bubble == pytest.approx(plain.bubble)


def test_what_cannot_be_scheduled_is_refused():
    with pytest.raises(ValueError, match="10 micro-batches do not divide by 4 devices"):
        interleaved(4, 10, 2)
    with pytest.raises(ValueError, match="twice as many micro-batches: 4, 6"):
        dual_pipe(4, 6)
    stuck = Schedule("stuck", [[Work(BACKWARD, 0, 0), Work(FORWARD, 0, 0)]], 1, 1)
    with pytest.raises(RuntimeError, match="stuck: device 0 waits for ever before Work"):
        play(stuck)

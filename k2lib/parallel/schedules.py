"""Who waits how long, and who holds how much, in a pipeline: schedules played on a clock (section 2.4.2).

Nothing is measured here. Every piece of work takes the time that it is given, messages take none, and a device starts its
next piece as soon as what it needs is there. Times are in units of one device's forward pass of a micro-batch; the
backward pass takes two, one for the gradient that travels on and one for the weights'.

    order = one_f_one_b(devices=16, micro_batches=32)
    play(order).bubble   # share of the time that the devices wait
    play(order).held     # forward passes that a device holds at most, in units of its layers
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

FORWARD, BACKWARD, WEIGHTS = "forward", "backward", "weights"  # WEIGHTS: split off from the backward pass
LENGTH = {FORWARD: 1.0, BACKWARD: 2.0, WEIGHTS: 1.0}


@dataclass(frozen=True)
class Work:
    """One piece: a micro-batch through one stage of its way; `split` leaves the weights' gradients for later."""

    kind: str
    stage: int
    micro_batch: int
    way: int = 0  # DualPipe sends half of the micro-batches in at the other end
    split: bool = False


@dataclass(frozen=True)
class Schedule:
    name: str
    orders: list[list[Work]]  # of each device
    stages: int  # of a way; a device has `parts` of them
    parts: int  # pieces into which a device's layers are cut
    copies: int = 1  # of the parameters


@dataclass(frozen=True)
class Span:
    device: int
    work: Work
    start: float
    end: float


@dataclass(frozen=True)
class Played:
    spans: list[Span]
    bubble: float  # share of all devices' time in which they wait
    held: list[float]  # of each device: micro-batches whose activations it holds at most, all its layers together


def one_f_one_b(devices: int, micro_batches: int) -> Schedule:
    """Each device goes forward until the first backward pass can reach it, then takes turns."""
    return interleaved(devices, micro_batches, parts=1)


def interleaved(devices: int, micro_batches: int, parts: int, extra: int = 0) -> Schedule:
    """1F1B with `parts` virtual stages a device: its layers lie apart, and each piece is shorter.

    `extra` forward passes more before the turns begin, as K2 has them, leave each backward pass a forward pass to lie over.
    ValueError unless the micro-batches divide by the devices where there are virtual stages.
    """
    if parts > 1 and micro_batches % devices:
        raise ValueError(f"{micro_batches} micro-batches do not divide by {devices} devices; interleaving needs that")
    orders = []
    for device in range(devices):
        forward = list(_turns(FORWARD, devices, device, micro_batches, range(parts)))
        backward = list(_turns(BACKWARD, devices, device, micro_batches, reversed(range(parts))))
        first = devices - device - 1 if parts == 1 else 2 * (devices - device - 1) + (parts - 1) * devices
        orders.append(_alternate(forward, backward, min(first + extra, len(forward))))
    name = "1F1B" if parts == 1 else f"interleaved, {parts} parts"
    return Schedule(name, orders, devices * parts, parts)


def dual_pipe(devices: int, micro_batches: int) -> Schedule:
    """DeepSeek's DualPipe: two ways through the same devices, each of which therefore holds two stages' parameters.

    ValueError unless devices and micro-batches are even and there are at least twice as many of the latter.
    """
    if devices % 2 or micro_batches % 2 or micro_batches < 2 * devices:
        raise ValueError(f"DualPipe needs even numbers and twice as many micro-batches: {devices}, {micro_batches}")
    return Schedule("DualPipe", [_both_ways(d, devices, micro_batches) for d in range(devices)], devices, 1, copies=2)


def _both_ways(device: int, devices: int, micro_batches: int) -> list[Work]:
    """A device's order in DualPipe. `near` is the way whose entrance is closer, `place` how far it is from there."""
    half, near = devices // 2, int(device >= devices // 2)
    far, place = 1 - near, min(device, devices - 1 - device)
    order = _Order({near: place, far: devices - 1 - place})
    inner, outer = half - place - 1, place + 1
    order.add(2 * inner, (FORWARD, near))  # fill the way that begins here
    order.add(outer, (FORWARD, near), (FORWARD, far))  # then both
    order.add(inner, ("split", far), (WEIGHTS,), (FORWARD, far))  # the other way's first micro-batches come back
    # the long middle: each backward pass has a forward pass of the other way beside it
    order.add(micro_batches // 2 - devices + outer, (FORWARD, near), (BACKWARD, far), (FORWARD, far), (BACKWARD, near))
    order.add(inner, (BACKWARD, far), (FORWARD, far), (BACKWARD, near))
    order.add(outer // 2, (BACKWARD, far), (BACKWARD, near))
    order.add(outer - outer // 2, ("split", far), ("split", near))
    order.add(inner, (WEIGHTS,), ("split", near))  # empty it, what was split off filling the gaps
    order.add(len(order.waiting), (WEIGHTS,))
    return order.works


class _Order:
    """Writes down one device's work: the next micro-batch of a kind and way, at the stage that the device is of that way."""

    def __init__(self, stage: dict[int, int]):
        self.stage, self.works, self.count = stage, [], Counter()
        self.waiting: deque[Work] = deque()  # backward passes whose weights' gradients are left

    def add(self, times: int, *steps: tuple) -> None:
        for _ in range(times):
            for step in steps:
                self.works.append(self._next(*step))

    def _next(self, kind: str, way: int = 0) -> Work:
        if kind == WEIGHTS:
            left = self.waiting.popleft()
            return Work(WEIGHTS, left.stage, left.micro_batch, left.way)
        split, kind = kind == "split", BACKWARD if kind == "split" else kind
        work = Work(kind, self.stage[way], self.count[kind, way], way, split)
        self.count[kind, way] += 1
        self.waiting.extend([work] if split else [])
        return work


def play(schedule: Schedule) -> Played:
    """The schedule on a clock. RuntimeError naming the piece that waits for ever, if its order cannot be played."""
    done: dict[Work, float] = {}
    free, place = [0.0] * len(schedule.orders), [0] * len(schedule.orders)
    spans: list[Span] = []
    moved = True
    while moved:
        moved = False
        for device, order in enumerate(schedule.orders):
            while place[device] < len(order) and (ready := _ready(order[place[device]], schedule, done)) is not None:
                work, start = order[place[device]], max(free[device], ready)
                length = LENGTH[work.kind] - (work.split and LENGTH[WEIGHTS])
                free[device] = done[_bare(work)] = start + length / schedule.parts
                spans.append(Span(device, work, start, free[device]))
                place[device], moved = place[device] + 1, True
    for device, order in enumerate(schedule.orders):
        if place[device] < len(order):
            raise RuntimeError(f"{schedule.name}: device {device} waits for ever before {order[place[device]]}")
    busy, whole = sum(span.end - span.start for span in spans), max(free) * len(free)
    return Played(spans, 1 - busy / whole, [_held(order) / schedule.parts for order in schedule.orders])


def lanes(played: Played) -> list[dict]:
    """The spans as a timeline: a lane a device, a colour for each kind of work."""
    return [{"lane": s.device, "kind": s.work.kind, "start": s.start, "end": s.end} for s in played.spans]


def _turns(kind: str, devices: int, device: int, micro_batches: int, in_order: Iterable[int]) -> Iterator[Work]:
    """Micro-batches in groups as large as the pipeline, each group through all parts of the device."""
    in_order = list(in_order)
    for first in range(0, micro_batches, devices):
        for part in in_order:
            for micro_batch in range(first, min(first + devices, micro_batches)):
                yield Work(kind, part * devices + device, micro_batch)


def _alternate(forward: list[Work], backward: list[Work], first: int) -> list[Work]:
    """`first` forward pieces, then one of each in turn, then the backward pieces that are left."""
    order, rest = forward[:first], forward[first:]
    for number, work in enumerate(backward):
        order += [*rest[number : number + 1], work]
    return order


def _bare(work: Work) -> Work:
    return Work(work.kind, work.stage, work.micro_batch, work.way)


def _ready(work: Work, schedule: Schedule, done: dict[Work, float]) -> float | None:
    """When all that a piece needs is there; None while something is not."""
    needed = []
    if work.kind == FORWARD and work.stage > 0:
        needed.append(Work(FORWARD, work.stage - 1, work.micro_batch, work.way))
    if work.kind == BACKWARD:
        needed.append(Work(FORWARD, work.stage, work.micro_batch, work.way))
        if work.stage < schedule.stages - 1:
            needed.append(Work(BACKWARD, work.stage + 1, work.micro_batch, work.way))
    if work.kind == WEIGHTS:
        needed.append(Work(BACKWARD, work.stage, work.micro_batch, work.way))
    return max((done[one] for one in needed), default=0.0) if all(one in done for one in needed) else None


def _held(order: list[Work]) -> int:
    """Forward passes at most between their own and their backward pass, the weights' part included."""
    now = most = 0
    for work in order:
        now += (work.kind == FORWARD) - (work.kind == WEIGHTS or (work.kind == BACKWARD and not work.split))
        most = max(most, now)
    return most

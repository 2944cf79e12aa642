"""Activations on their way to the host's memory and back, beside the computation (section 2.4.3).

One lane out and one lane home, as a GPU has a copy engine for each direction. A tensor leaves when the forward pass saves
it; if more than `in_flight` bytes have not arrived, the computation waits (back-pressure), since what waits to leave still
fills the device. The backward pass asks for the first tensor of a layer: all of that layer and of the one it will
reach next come home. After the first layer of one forward pass that is the last layer of the following pass, as in 1F1B.

On a GPU a lane is a stream and host memory is pinned. Without one the same schedule runs, and a lane is a thread.
"""

import time
import weakref
from collections import defaultdict, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from k2lib import machine

IN_FLIGHT = 256 << 20  # bytes on their way out; the residual stream of K2's 4096 tokens has 59 MB


@dataclass(frozen=True)
class Span:
    """What ran when. Lanes: "forward" and "backward" of a layer, "out" and "home" of its tensors.

    A backward span reaches from the first tensor of a layer that is asked for to the last, on the host's clock.
    """

    lane: str
    forward_pass: int
    layer: int
    start: float  # seconds
    end: float
    bytes: int = 0


class Parcel:
    """One storage: on the device, then on the host, then on the device again."""

    def __init__(self, group: tuple[int, int], host: Tensor, like: Tensor, gone: "Future | torch.Event"):
        self.group, self.host, self.gone = group, host, gone
        self.where = like.device
        self.back: Tensor | None = None
        self.home: Future | torch.Event | None = None


class Transfer:
    """The schedule. `enter` is called at the start of every layer, `send` and `fetch` for every tensor."""

    def __init__(self, where: torch.device, in_flight: int = IN_FLIGHT):
        self.lanes = {name: _lane(where) for name in ("out", "home")}
        self.pinned = where.type == machine.GPU
        self.in_flight, self.leaving = in_flight, deque[tuple[Future | torch.Event, int]]()
        self.group = (0, 0)  # (forward pass, layer), the layer counted from 1; what comes before the first is 0, and
        # comes home one by one: a model that names no layers has nothing else
        self.deepest: dict[int, int] = {}  # layers of each forward pass
        self.waiting: dict[tuple[int, int], weakref.WeakSet[Parcel]] = defaultdict(weakref.WeakSet)
        self.waits = 0  # how often the computation had to wait for the lane out
        self.asked: dict[tuple[int, int], tuple[float, float]] = {}  # first and last time, by group
        self._layers: set[int] = set()  # of the present forward pass, by identity

    def enter(self, layer: object) -> None:
        """The forward pass comes to a layer; one that it has seen before begins another pass."""
        if id(layer) in self._layers:
            self._layers.clear()
            self.group = (self.group[0] + 1, 0)
        self._layers.add(id(layer))
        self.group = (self.group[0], self.group[1] + 1)
        self.deepest[self.group[0]] = self.group[1]

    def send(self, flat: Tensor) -> Parcel:
        """flat [N] begins to leave; the caller drops it."""
        size = flat.numel() * flat.element_size()
        while self.leaving and sum(waiting for _, waiting in self.leaving) + size > self.in_flight:
            self.waits += not _arrived(self.leaving[0][0])
            _block(self.leaving.popleft()[0])
        host = torch.empty(flat.shape, dtype=flat.dtype, device=machine.HOST, pin_memory=self.pinned)
        gone = self.lanes["out"].copy(host, flat, self.group)
        self.leaving.append((gone, size))
        parcel = Parcel(self.group, host, flat, gone)
        self.waiting[self.group].add(parcel)
        return parcel

    def fetch(self, parcel: Parcel) -> Tensor:
        """The tensor [N], on its device again; what the backward pass needs next sets out as well."""
        now = time.perf_counter()
        self.asked[parcel.group] = (self.asked.get(parcel.group, (now,))[0], now)
        if parcel.group[1] > 0:
            for group in (parcel.group, self._next(parcel.group)):
                for other in self.waiting.pop(group, ()):
                    self._bring(other)
        self._bring(parcel)
        self.lanes["home"].wait(parcel.home)
        return parcel.back

    def spans(self) -> list[Span]:
        """Copies so far, in the order in which each lane made them, and backward passes; waits until copies are over."""
        copies = [span for name, lane in self.lanes.items() for span in lane.spans(name)]
        return copies + [Span("backward", *group, *times) for group, times in self.asked.items() if group[1] > 0]

    def _next(self, group: tuple[int, int]) -> tuple[int, int]:
        """The group that the backward pass reaches after this one."""
        forward_pass, layer = group
        if layer > 1:
            return forward_pass, layer - 1
        return forward_pass + 1, self.deepest.get(forward_pass + 1, 0)

    def _bring(self, parcel: Parcel) -> None:
        if parcel.home is None:
            _block(parcel.gone)
            parcel.back = torch.empty(parcel.host.shape, dtype=parcel.host.dtype, device=parcel.where)
            parcel.home = self.lanes["home"].copy(parcel.back, parcel.host, parcel.group)


class _ThreadLane:
    """Copies one after another on a thread of its own; a copy of many bytes lets other threads compute."""

    def __init__(self):
        self.thread = ThreadPoolExecutor(1)
        self.done: list[tuple[tuple[int, int], Future]] = []

    def copy(self, target: Tensor, source: Tensor, group: tuple[int, int]) -> Future:
        future = self.thread.submit(_timed_copy, target, source)
        self.done.append((group, future))
        return future

    @staticmethod
    def wait(copied: Future) -> None:
        copied.result()

    def spans(self, name: str) -> list[Span]:
        return [Span(name, *group, *future.result()) for group, future in self.done]


def _timed_copy(target: Tensor, source: Tensor) -> tuple[float, float, int]:
    start = time.perf_counter()
    target.copy_(source)
    return start, time.perf_counter(), target.numel() * target.element_size()


class _StreamLane:
    """Copies one after another on a stream of its own."""

    def __init__(self, where: torch.device):
        self.stream, self.zero = torch.Stream(where), torch.Event(where, enable_timing=True)
        self.began = time.perf_counter()
        self.zero.record(self.stream)
        self.done: list[tuple[tuple[int, int], torch.Event, torch.Event, int]] = []

    def copy(self, target: Tensor, source: Tensor, group: tuple[int, int]) -> torch.Event:
        here = target if source.device == machine.HOST else source
        start, end = (torch.Event(here.device, enable_timing=True) for _ in range(2))
        self.stream.wait_stream(torch.accelerator.current_stream())
        with self.stream:
            start.record(self.stream)
            target.copy_(source, non_blocking=True)
            end.record(self.stream)
        here.record_stream(self.stream)  # its memory is not given to others before the copy is over
        self.done.append((group, start, end, target.numel() * target.element_size()))
        return end

    @staticmethod
    def wait(copied: torch.Event) -> None:
        torch.accelerator.current_stream().wait_event(copied)

    def spans(self, name: str) -> list[Span]:
        self.stream.synchronize()
        return [
            Span(name, *group, *(self.began + 1e-3 * self.zero.elapsed_time(mark) for mark in (start, end)), size)
            for group, start, end, size in self.done
        ]


def _lane(where: torch.device) -> "_ThreadLane | _StreamLane":
    return _StreamLane(where) if where.type == machine.GPU else _ThreadLane()


def _arrived(copied: "Future | torch.Event") -> bool:
    return copied.done() if isinstance(copied, Future) else copied.query()


def _block(copied: "Future | torch.Event") -> None:
    if isinstance(copied, Future):
        copied.result()
    else:
        copied.synchronize()

"""Requests that wait are decoded together: one thread owns the model, and each request hears its own tokens.

A batch holds whoever waits when the one before it has ended and samples alike; who comes later waits for the next.
"""

import asyncio
import itertools
import queue
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from k2lib.serving.engine import Engine, Request


@dataclass(frozen=True)
class Heard:
    token: int
    logprob: float


@dataclass(frozen=True)
class Ended:
    finish: str  # "stop" | "length"
    error: Exception | None = None
    last: Heard | None = None  # the token that ended the turn; it is no part of the text


@dataclass
class Job:
    """A request and its listener."""

    request: Request
    loop: asyncio.AbstractEventLoop
    events: asyncio.Queue = field(default_factory=asyncio.Queue)
    enough: bool = False  # the listener has gone, or has met a stop string
    count: int = 0
    ended: bool = False

    def tell(self, event: Heard | Ended) -> None:
        self.ended |= isinstance(event, Ended)
        try:
            self.loop.call_soon_threadsafe(self.events.put_nowait, event)
        except RuntimeError:  # its loop is closed: nobody listens any more
            self.enough = True


@dataclass(frozen=True)
class Change:
    """Of the engine: who makes the next one, and who waits for it."""

    make: Callable[[], Engine]
    made: Future


class Batcher:
    def __init__(self, engine: Engine, largest: int = 16):
        self.engine, self._largest = engine, largest
        self._waiting: queue.Queue[Job | Change | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="decode", daemon=True)
        self._thread.start()

    async def listen(self, request: Request) -> AsyncIterator[Heard | Ended]:
        """Its tokens as they appear, then one `Ended`. Who stops listening frees its place in the batch."""
        job = Job(request, asyncio.get_running_loop())
        self._waiting.put(job)
        try:
            while True:
                event = await job.events.get()
                yield event
                if isinstance(event, Ended):
                    return
        finally:
            job.enough = True

    async def serve(self, make: Callable[[], Engine]) -> None:
        """Makes another engine between two batches and serves it from then on; what `make` raises is raised here."""
        made: Future[None] = Future()
        self._waiting.put(Change(make, made))
        await asyncio.wrap_future(made)

    def close(self) -> None:
        """Ends the thread after the batch that it is at."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        aside: deque[Job | Change | None] = deque()  # they came later, or sample otherwise than the batch before them
        while True:
            first = aside.popleft() if aside else self._waiting.get()
            if first is None:
                return
            if isinstance(first, Change):
                self._change(first)
                continue
            aside.extend(self._arrived())
            known = itertools.takewhile(lambda job: isinstance(job, Job), aside)  # what follows a change waits for it
            alike = [job for job in known if job.request.sampling == first.request.sampling]
            batch = [job for job in (first, *alike[: self._largest - 1]) if not job.enough]
            for job in alike[: self._largest - 1]:
                aside.remove(job)
            if batch:
                self._decode(batch)

    def _change(self, change: Change) -> None:
        if not change.made.set_running_or_notify_cancel():  # who asked for it has gone
            return
        try:
            self.engine = change.make()
        except Exception as error:  # whatever it is, who asked for it must hear of it
            change.made.set_exception(error)
        else:
            change.made.set_result(None)

    def _arrived(self) -> list[Job | Change | None]:
        found = []
        while True:
            try:
                found.append(self._waiting.get_nowait())
            except queue.Empty:
                return found

    def _decode(self, batch: list[Job]) -> None:
        def listener(place: int, token: int, logprob: float) -> bool:
            job = batch[place]
            if job.enough or job.ended:
                return True
            if self.engine.ends(token):
                job.tell(Ended("stop", last=Heard(token, logprob)))
                return True
            job.count += 1
            job.tell(Heard(token, logprob))
            if job.count == job.request.max_tokens:
                job.tell(Ended("length"))
            return job.ended

        error: Exception | None = None
        try:
            self.engine.decode([job.request for job in batch], listener)
        except Exception as raised:  # whatever it is, those who wait must hear of it
            error = raised
        for job in batch:
            if not job.ended:
                job.tell(Ended("length", error))

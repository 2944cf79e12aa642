"""Requests that wait are decoded together: one thread owns the model, and each request hears its own tokens.

A batch holds whoever waits when the one before it has ended and samples alike; who comes later waits for the next.
"""

import asyncio
import queue
import threading
from collections import deque
from collections.abc import AsyncIterator
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


class Batcher:
    def __init__(self, engine: Engine, largest: int = 16):
        self.engine, self._largest = engine, largest
        self._waiting: queue.Queue[Job | None] = queue.Queue()
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

    def close(self) -> None:
        """Ends the thread after the batch that it is at."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        aside: deque[Job] = deque()  # they sample otherwise than the batch that went before them
        while True:
            first = aside.popleft() if aside else self._waiting.get()
            if first is None:
                return
            aside.extend(self._arrived())
            alike = [job for job in aside if job and job.request.sampling == first.request.sampling]
            batch = [job for job in (first, *alike[: self._largest - 1]) if not job.enough]
            for job in alike[: self._largest - 1]:
                aside.remove(job)
            if batch:
                self._decode(batch)

    def _arrived(self) -> list[Job | None]:
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

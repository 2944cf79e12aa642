"""Parts of a corpus as tasks of Ray: on the cluster that RAY_ADDRESS names, or on this machine's cores.

A worker needs the package, the output directory under the same path, and the endpoint; it opens the model once and keeps it.
"""

import os
from collections import Counter
from functools import lru_cache

from k2lib.llm import ChatError
from k2lib.llm.budget import BudgetError
from k2lib.serving.open import Spoken, open_model
from k2lib.synth.passages import Passage
from k2lib.synth.rephrase import run as until_done
from k2lib.synth.work import Outcome, Run, rewritten


class Cluster:
    """RuntimeError if Ray is not installed. One that was running already goes on running."""

    def __init__(self, workers: int):
        try:
            import ray
        except ImportError as error:
            raise RuntimeError(
                "the engine ray needs Ray: pip install 'k2lib[ray]', or choose --engine local"
            ) from error
        self._ray, self._workers, self._ours = ray, workers, not ray.is_initialized()

    def __enter__(self) -> "Cluster":
        if self._ours:
            there = bool(os.environ.get("RAY_ADDRESS"))
            here = {} if there else {"num_cpus": self._workers, "include_dashboard": False}
            self._ray.init(**here, log_to_driver=False, configure_logging=False)
        self._task = self._ray.remote(num_cpus=1)(_do)
        return self

    def __exit__(self, *_) -> None:
        if self._ours:
            self._ray.shutdown()

    def start(self, run: Run, number: int, part: list[Passage]) -> object:
        return self._task.remote(run, number, part)

    def wait(self, task: object) -> Outcome:
        """The outcome of a started part; a worker that dies takes its part to another, as often as Ray does that."""
        return self._ray.get(task)


def _do(run: Run, number: int, part: list[Passage]) -> Outcome:
    model = _opened(run.model, run.settings.seed)
    try:
        return Outcome(until_done(rewritten(run, number, part, model)), run.budget)
    except (BudgetError, ChatError) as error:
        return Outcome(Counter(), run.budget, error)


@lru_cache(1)
def _opened(model: Spoken, seed: int):
    return open_model(model, seed)

"""Where a run leaves its state, so that a later process goes on from there and ends bit-identical to one that was not killed."""

import time
import warnings
from pathlib import Path

import torch
from torch import nn


class Snapshot:
    def __init__(self, path: Path, every_seconds: float = 60.0):
        self.path, self.every_seconds, self._saved = path, every_seconds, time.monotonic()

    def load(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict:
        """Brings both back to where they were; returns the progress that was saved with them, {} if nothing was.

        A damaged file is set aside under the name `….damaged`, with a UserWarning, and the run begins anew.
        """
        if not self.path.exists():
            return {}
        try:
            state = torch.load(self.path, weights_only=True, map_location=next(model.parameters()).device)
        except Exception as error:  # torch's, pickle's and zipfile's own
            aside = self.path.with_suffix(".damaged")
            self.path.replace(aside)
            why = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
            warnings.warn(
                f"{self.path} is damaged ({why}); it was set aside as {aside.name}, and the run begins anew",
                stacklevel=2,
            )
            return {}
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        return state["progress"]

    @property
    def due(self) -> bool:
        """Whether the last one is older than `every_seconds`."""
        return time.monotonic() - self._saved > self.every_seconds

    def save(self, model: nn.Module, optimizer: torch.optim.Optimizer, progress: dict) -> None:
        """`progress` holds plain values and tensors: steps done, their records."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "progress": progress}
        try:
            torch.save(state, temporary)
            temporary.replace(self.path)
        finally:
            temporary.unlink(missing_ok=True)
        self._saved = time.monotonic()

"""How a study trains a small model: MuonClip, one rate, warm-up, stable, decay (section 2.5)."""

from collections.abc import Callable, Iterator

from k2lib.model import K2Model
from k2lib.optim import MuonClip, schedule
from k2lib.progress import Progress, silent
from k2lib.train import Batch, train

TAU = 100.0


def teach(
    model: K2Model,
    batches: Callable[[int], Iterator[Batch]],
    steps: int,
    lr: float,
    warmup: int,
    name: str,
    progress: Progress = silent,
) -> K2Model:
    """The same model, trained for so many steps; `name` is what progress shows."""
    optimizer = MuonClip.for_model(model, lr=lr, tau=TAU)

    def rate(step: int) -> float:
        return schedule.wsd(step, lr=lr, warmup=min(warmup, steps), total=steps)

    train(model, optimizer, batches, steps=steps, lr_at=rate, description=name, progress=progress)
    return model

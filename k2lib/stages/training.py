"""What the stages that train share: the model's shape, the schedule, the snapshot, the checkpoint at the end."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from k2lib import places
from k2lib.config import K2Config
from k2lib.corpus.tokenizer import Tokenizer
from k2lib.model import K2Model
from k2lib.optim import schedule
from k2lib.profiles import Profile, TrainSize
from k2lib.train import Snapshot, StepRecord, save_checkpoint


def config(profile: Profile) -> K2Config:
    """The model of this profile: the preset `nano`, with the profile's changes."""
    return K2Config.preset("nano").replace(**profile.model)


def decay(size: TrainSize) -> Callable[[int], float]:
    """The learning rate of each step: warm-up, stable, decay."""
    return lambda step: schedule.wsd(step, lr=size.lr, warmup=size.warmup, total=size.steps)


def snapshot(name: str, directory: Path) -> Snapshot:
    """Where the training that makes `directory` leaves its state."""
    return Snapshot(places.artifacts() / "snapshots" / f"{name}-{directory.name}.pt")


def finish(
    directory: Path, model: K2Model, tokenizer: Tokenizer, state: Snapshot, history: list[StepRecord], **training
) -> None:
    """Writes the checkpoint with the record of its training; the snapshot has served."""
    save_checkpoint(directory / "model", model, tokenizer, training | {"history": [asdict(r) for r in history]})
    state.path.unlink(missing_ok=True)

"""The base model: pre-trained on the corpus with MuonClip and the paper's schedule in small, then taught to look back.

K2's pre-training ends with a phase that activates a long context (section 2.5). A model this small cannot use even a short one
without such phases: it repeats no name that a user or a tool has given it.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import torch

from k2lib import machine
from k2lib.model import K2Model
from k2lib.optim import MuonClip
from k2lib.profiles import Profile, TrainSize
from k2lib.progress import Progress, silent
from k2lib.stages.corpus import corpus
from k2lib.stages.stage import stage
from k2lib.stages.training import config, decay, snapshot
from k2lib.train import Batch, Checkpoint, Snapshot, StepRecord, load_checkpoint, recital, save_checkpoint, train

PHASES = ("history", "copying", "recitals")  # where the records of their steps stand


def base(profile: Profile, seed: int = 0, progress: Progress = silent) -> Checkpoint:
    """The pre-trained model; `training` holds a record of every step, under the names of PHASES."""
    data, sizes = corpus(profile, seed, progress), (profile.pretrain, profile.copy, profile.recite)
    read, copy, recite = sizes

    def text(start: int) -> Iterator[Batch]:
        sequences = data.dataset.batches(read.batch_size, read.seq_len, seed=seed, start_step=start)
        return map(Batch.from_sequences, sequences)

    def make(directory: Path) -> None:
        torch.manual_seed(seed)
        model = K2Model(config(profile)).to(machine.device())
        states = [snapshot(f"base-{name}", directory) for name in PHASES]
        known = data.dataset, data.tokenizer
        copied = recital.copying(*known, copy.batch_size, copy.seq_len, seed)
        recited = recital.looking_up(*known, data.words, recite.batch_size, recite.seq_len, seed)
        told = ("pre-train", "learn to copy", "learn to look up")
        phases = zip(sizes, (text, copied, recited), states, told, strict=True)
        records = [[asdict(record) for record in _phase(model, *phase, progress)] for phase in phases]
        made_of = {"stage": "base", "seed": seed, "size": asdict(read)} | dict(zip(PHASES, records, strict=True))
        save_checkpoint(directory / "model", model, data.tokenizer, made_of)
        for state in states:
            state.path.unlink(missing_ok=True)

    key = {"size": asdict(read), "copy": asdict(copy), "recite": asdict(recite), "model": profile.model, "seed": seed}
    return load_checkpoint(stage("base", key | {"corpus": data.dir.name}, make) / "model")


def _phase(
    model: K2Model,
    size: TrainSize,
    batches: Callable[[int], Iterator[Batch]],
    state: Snapshot,
    told: str,
    progress: Progress,
) -> list[StepRecord]:
    """One part of pre-training, with an optimizer and a schedule of its own."""
    optimizer = MuonClip.for_model(model, lr=size.lr, tau=size.qk_clip_tau)
    how = {"steps": size.steps, "lr_at": decay(size), "description": told, "snapshot": state}
    return train(model, optimizer, batches, **how, progress=progress)

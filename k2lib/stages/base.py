"""The base model: pre-trained on the corpus with MuonClip and the paper's schedule in small."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch

from k2lib import machine
from k2lib.model import K2Model
from k2lib.optim import MuonClip
from k2lib.profiles import Profile
from k2lib.progress import Progress, silent
from k2lib.stages.corpus import corpus
from k2lib.stages.stage import stage
from k2lib.stages.training import config, decay, finish, snapshot
from k2lib.train import Batch, Checkpoint, load_checkpoint, train


def base(profile: Profile, seed: int = 0, progress: Progress = silent) -> Checkpoint:
    """The pre-trained model; `training` holds a record of every step."""
    data, size = corpus(profile, seed, progress), profile.pretrain

    def make(directory: Path) -> None:
        torch.manual_seed(seed)
        model = K2Model(config(profile)).to(machine.device())
        optimizer = MuonClip.for_model(model, lr=size.lr, tau=size.qk_clip_tau)
        state = snapshot("base", directory)
        how = {"steps": size.steps, "lr_at": decay(size), "progress": progress, "snapshot": state}
        history = train(model, optimizer, batches, description="pre-train", **how)
        finish(directory, model, data.tokenizer, state, history, stage="base", seed=seed, size=asdict(size))

    def batches(start: int) -> Iterator[Batch]:
        sequences = data.dataset.batches(size.batch_size, size.seq_len, seed=seed, start_step=start)
        return map(Batch.from_sequences, sequences)

    key = {"size": asdict(size), "model": profile.model, "seed": seed, "corpus": data.dir.name}
    return load_checkpoint(stage("base", key, make) / "model")

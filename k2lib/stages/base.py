"""The base model: pre-trained on the corpus with MuonClip and the paper's schedule in small, then taught to look back.

K2's pre-training ends with a phase that activates a long context (section 2.5). A model this small cannot use even a short one
without such a phase: it repeats no name that a user or a tool has given it.
"""

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
from k2lib.train import Batch, Checkpoint, load_checkpoint, recital, train


def base(profile: Profile, seed: int = 0, progress: Progress = silent) -> Checkpoint:
    """The pre-trained model; `training` holds a record of every step, those of the last phase under "recitals"."""
    data, size, last = corpus(profile, seed, progress), profile.pretrain, profile.recite

    def make(directory: Path) -> None:
        torch.manual_seed(seed)
        model = K2Model(config(profile)).to(machine.device())
        optimizer = MuonClip.for_model(model, lr=size.lr, tau=size.qk_clip_tau)
        state = snapshot("base", directory)
        how = {"steps": size.steps, "lr_at": decay(size), "progress": progress, "snapshot": state}
        history = train(model, optimizer, batches, description="pre-train", **how)
        optimizer = MuonClip.for_model(model, lr=last.lr, tau=last.qk_clip_tau)
        shape = last.batch_size, last.seq_len, last.steps
        told = recital.batches(data.dataset, data.tokenizer, data.words, *shape, seed)
        later = snapshot("recitals", directory)
        how = {"steps": last.steps, "lr_at": decay(last), "progress": progress, "snapshot": later}
        recited = train(model, optimizer, told, description="learn to look back", **how)
        made_of = {"stage": "base", "seed": seed, "size": asdict(size), "recitals": [asdict(r) for r in recited]}
        finish(directory, model, data.tokenizer, state, history, **made_of)
        later.path.unlink(missing_ok=True)

    def batches(start: int) -> Iterator[Batch]:
        sequences = data.dataset.batches(size.batch_size, size.seq_len, seed=seed, start_step=start)
        return map(Batch.from_sequences, sequences)

    key = {"size": asdict(size), "recite": asdict(last), "model": profile.model, "seed": seed, "corpus": data.dir.name}
    return load_checkpoint(stage("base", key, make) / "model")

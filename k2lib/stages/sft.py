"""The fine-tuned model: the base model on the conversations of `sft_data`."""

from dataclasses import asdict
from pathlib import Path

from k2lib.optim import MuonClip
from k2lib.profiles import Profile
from k2lib.progress import Progress, silent
from k2lib.stages.base import base
from k2lib.stages.sft_data import sft_data
from k2lib.stages.stage import stage
from k2lib.stages.training import decay, finish, snapshot
from k2lib.train import Checkpoint, finetune, load_checkpoint, train


def sft(profile: Profile, seed: int = 0, run: int = 0, progress: Progress = silent) -> Checkpoint:
    """The fine-tuned model; `run` shuffles the rows, `training` holds a record of every step and the number of rows."""
    start, data, size = base(profile, seed, progress), sft_data(profile, seed, progress), profile.sft

    def make(directory: Path) -> None:
        rows, too_long = finetune.encode_rows(data.rows, start.tokenizer, size.seq_len)
        batches = finetune.batches(rows, size.batch_size, size.seq_len, start.tokenizer.pad_id, seed + run)
        optimizer = MuonClip.for_model(start.model, lr=size.lr, tau=size.qk_clip_tau)
        state = snapshot(f"sft{run}", directory)
        how = {"steps": size.steps, "lr_at": decay(size), "progress": progress, "snapshot": state}
        history = train(start.model, optimizer, batches, description="fine-tune", **how)
        made_of = {"stage": "sft", "seed": seed, "run": run, "size": asdict(size)}
        made_of |= {"rows": len(rows), "too_long": too_long}
        finish(directory, start.model, start.tokenizer, state, history, **made_of)

    key = {"size": asdict(size), "base": start.dir.parent.name, "data": data.dir.name}
    key |= {"seed": seed, "run": run}
    return load_checkpoint(stage(f"sft{run}", key, make) / "model")

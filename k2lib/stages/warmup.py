"""The model that RL's arms start from: the fine-tuned one after some hundred steps on worked answers of several families.

A model that never solves a problem learns nothing from trying, so RL begins with a little supervision of the kinds of problems that
it will meet (k1.5, section 2.2). A share of fine-tuning's own rows stays among them, so that it is not forgotten.
"""

import random
from dataclasses import asdict
from pathlib import Path

from k2lib.gym.mixture import several
from k2lib.optim import MuonClip
from k2lib.profiles import Profile
from k2lib.progress import Progress, silent
from k2lib.stages.sft import sft
from k2lib.stages.sft_data import SFTData, sft_data
from k2lib.stages.stage import stage
from k2lib.stages.training import decay, finish, snapshot
from k2lib.train import Checkpoint, finetune, load_checkpoint, train

LEARNED = (
    "mathematics", "tables", "following", "faithfulness", "divisors", "products", "countdown", "syllogisms", "letters",
)  # fmt: skip
ASIDE = ("fractions", "sequences", "equations")  # worked answers are shown, and RL never asks for them
KEPT = 3  # one row of fine-tuning beside so many worked answers
SEED = 500  # of the problems, others than RL's


def warmed_up(profile: Profile, seed: int = 0, progress: Progress = silent) -> Checkpoint:
    """The model, from the fine-tuning of run 0; `training` holds a record of every step and the number of rows."""
    start, data, size = sft(profile, seed, 0, progress), sft_data(profile, seed, progress), profile.rl_arms.warmup

    def make(directory: Path) -> None:
        rows, too_long = finetune.encode_rows(worked(profile.rl_arms.worked, data, seed), start.tokenizer, size.seq_len)
        batches = finetune.batches(rows, size.batch_size, size.seq_len, start.tokenizer.pad_id, seed)
        optimizer = MuonClip.for_model(start.model, lr=size.lr, tau=size.qk_clip_tau)
        state = snapshot("warmup", directory)
        how = {"steps": size.steps, "lr_at": decay(size), "progress": progress, "snapshot": state}
        history = train(start.model, optimizer, batches, description="warm up", **how)
        made_of = {"stage": "warmup", "seed": seed, "size": asdict(size), "rows": len(rows), "too_long": too_long}
        finish(directory, start.model, start.tokenizer, state, history, **made_of)

    key = {"size": asdict(size), "worked": profile.rl_arms.worked, "sft": start.dir.parent.name, "seed": seed}
    return load_checkpoint(stage("warmup", key, make) / "model")


def worked(each: int, data: SFTData, seed: int) -> list[dict]:
    """Rows of `each` family that its own check passes, and some of fine-tuning's."""
    names = LEARNED + ASIDE
    rows = [problem.demonstration() for problem in several(names, each * len(names), SEED + seed)]
    rows = [row for row in rows if row["verdict"]["passed"]]
    return rows + random.Random(seed).sample(data.rows, min(len(data.rows), len(rows) // KEPT))

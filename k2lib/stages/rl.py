"""The model after reinforcement learning on fresh problems: others than fine-tuning's, and disjoint from the held-out ones."""

from dataclasses import asdict
from pathlib import Path

from k2lib.gym.mixture import verifiable
from k2lib.profiles import Profile
from k2lib.progress import Progress, silent
from k2lib.rl.trainer import train_rl
from k2lib.stages.sft import sft
from k2lib.stages.sft_data import sft_data
from k2lib.stages.stage import stage
from k2lib.stages.training import snapshot
from k2lib.train import Checkpoint, finetune, load_checkpoint, save_checkpoint

PTX = 2  # packed sequences of demonstrations in a step's auxiliary loss


def rl(profile: Profile, seed: int = 0, run: int = 0, progress: Progress = silent) -> Checkpoint:
    """The fine-tuned model of that run after RL, with `run` as its seed; `training` holds its history."""
    start, data, size = sft(profile, seed, run, progress), sft_data(profile, seed, progress), profile.rl
    kinds = {"pool": profile.agentic.pool, "largest": profile.corpus.largest_number}

    def make(directory: Path) -> None:
        model, tokenizer, state = start.model, start.tokenizer, snapshot(f"rl{run}", directory)
        rows, _ = finetune.encode_rows(data.rows, tokenizer, profile.sft.seq_len)
        ptx = finetune.batches(rows, PTX, profile.sft.seq_len, tokenizer.pad_id, run)
        problems = verifiable(size.candidates, 1000 + run, "train", **kinds)
        heldout = verifiable(size.heldout, seed, profile.judged_on, **kinds)
        how = {"seed": run, "progress": progress, "snapshot": state}
        result = train_rl(model, tokenizer, problems, heldout, ptx, size, **how)
        made_of = {"stage": "rl", "seed": seed, "run": run, "kinds": [p.kind for p in heldout]}
        save_checkpoint(directory / "model", model, tokenizer, made_of | asdict(result))
        state.path.unlink(missing_ok=True)

    key = {"size": asdict(size), "sft": start.dir.parent.name, "problems": kinds, "heldout": profile.judged_on}
    key |= {"seed": seed, "run": run}
    return load_checkpoint(stage(f"rl{run}", key, make) / "model")

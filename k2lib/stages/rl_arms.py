"""RL trainings of one model that differ in one thing: objective, pull, PTX, temperature, budget, problems, pauses (section 3.2).

Every arm plays as many episodes. What each has learned is asked by `k2lib.stages.rl_exam`.
"""

import contextlib
from dataclasses import asdict, replace
from pathlib import Path

from k2lib import machine
from k2lib.gym.budgeted import Budgeted
from k2lib.gym.mixture import several
from k2lib.profiles import Profile
from k2lib.progress import Progress, silent
from k2lib.rl.trainer import train_rl
from k2lib.stages.sft_data import sft_data
from k2lib.stages.stage import stage
from k2lib.stages.training import snapshot
from k2lib.stages.warmup import LEARNED, warmed_up, worked
from k2lib.train import Checkpoint, finetune, load_checkpoint, save_checkpoint

PTX = 1  # packed sequences of demonstrations in an update's auxiliary loss

TIGHT = "a tight budget"  # of each problem: what its worked answer takes

RL_ARMS: dict[str, dict] = {
    "K2": {},
    "GRPO": {"objective": "grpo"},
    "REINFORCE": {"objective": "reinforce"},
    "rejection sampling": {"objective": "rejection"},
    "a weak pull": {"tau": 0.01},
    "a strong pull": {"tau": 1.0},
    "without PTX": {"ptx_weight": 0.0},
    "hot throughout": {"temperature": (1.0, 1.0)},
    "cool throughout": {"temperature": (0.7, 0.7)},
    "every problem": {"moderate": False},
    "with pauses": {"allowance": 8},
    TIGHT: {},
}


def rl_arm(
    profile: Profile, name: str, seed: int = 0, run: int = 0, progress: Progress = silent, dtype: str | None = None
) -> Checkpoint:
    """The model that `warmed_up` gives after the training `name` of RL_ARMS; `training` holds its history.

    `run` draws problems and samples. `dtype` is that of the training's products, the machine's own if None.
    """
    start, data = warmed_up(profile, seed, progress), sft_data(profile, seed, progress)
    size = replace(profile.rl_arms.rl, **RL_ARMS[name])

    def make(directory: Path) -> None:
        model, tokenizer, state = start.model, start.tokenizer, snapshot(f"rl-arm-{run}", directory)
        ptx = None
        if size.ptx_weight:
            rows, _ = finetune.encode_rows(worked(profile.rl_arms.worked, data, seed), tokenizer, profile.sft.seq_len)
            ptx = finetune.batches(rows, PTX, profile.sft.seq_len, tokenizer.pad_id, run)
        problems = several(LEARNED, size.candidates, 1000 + run)
        if name == TIGHT:
            problems = [Budgeted(one, len(tokenizer.encode(one.answer)) + 1) for one in problems]
        with machine.computing_in(dtype) if dtype else contextlib.nullcontext():
            result = train_rl(model, tokenizer, problems, [], ptx, size, seed=run, progress=progress, snapshot=state)
        made_of = {"stage": "rl-arm", "arm": name, "seed": seed, "run": run}
        save_checkpoint(directory / "model", model, tokenizer, made_of | asdict(result))
        state.path.unlink(missing_ok=True)

    key = {"size": asdict(size), "arm": name, "start": start.dir.parent.name, "seed": seed, "run": run}
    if dtype not in (None, machine.compute_dtype()):
        key |= {"products": dtype}
    return load_checkpoint(stage(f"rl-arm-{run}", key, make) / "model")

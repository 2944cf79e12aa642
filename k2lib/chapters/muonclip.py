"""Notebook 03: Muon's update, the base model's training, and logits with and without the clip (section 2.1)."""

from statistics import quantiles

import torch

from k2lib import stages
from k2lib.optim import newton_schulz
from k2lib.profiles import Profile
from k2lib.progress import Progress
from k2lib.studies import clip as clip_study

WIDTH, ORDERS = 128, 3  # of the made-up gradient: rows, and orders of magnitude that its singular values span


def spectrum(_profile: Profile, seed: int, _progress: Progress) -> dict[str, list[float]]:
    """Singular values of a made-up gradient and of Muon's update for it, falling."""
    generator = torch.Generator().manual_seed(seed)
    left, right = (torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=generator)).Q for _ in range(2))
    gradient = left @ torch.diag(torch.logspace(0, -ORDERS, WIDTH)) @ right
    update = newton_schulz(gradient[None], steps=5)[0].float()
    return {
        name: torch.linalg.svdvals(matrix).tolist() for name, matrix in (("gradient", gradient), ("update", update))
    }


def base(profile: Profile, seed: int, progress: Progress) -> dict[str, list]:
    """The base model's training: {"loss": [step], "max_logits": [step][layer][head], "tokens a second": deciles 1, 5, 9}."""
    history = stages.base(profile, seed, progress).training["history"]
    deciles = quantiles([record["tokens"] / record["seconds"] for record in history], n=10)
    steps = {name: [record[name] for record in history] for name in ("loss", "max_logits")}
    return steps | {"tokens a second": deciles[::4]}


def clip(profile: Profile, seed: int, progress: Progress) -> list[dict]:
    """Per seed {"muon" | "muonclip": {"loss", "max_logit"} a step}: the same training without and with the clip."""
    return stages.study(clip_study.STUDY, profile, seed=seed, progress=progress)

"""Do logits grow without the clip, and does the clip hold them? Plain Muon against MuonClip (section 2.1)."""

import itertools
import statistics
from collections.abc import Iterator

import torch

from k2lib import machine
from k2lib.config import K2Config
from k2lib.corpus.packing import PackedDataset
from k2lib.model import K2Model
from k2lib.optim import MuonClip
from k2lib.profiles import ClipSize, Profile
from k2lib.progress import Progress, silent
from k2lib.studies.study import Study
from k2lib.train import Batch, StepRecord, train

WARMUP = 10  # steps
TAIL = 10  # final losses are means over the last one of so many parts of a run


def measure(
    config: K2Config, dataset: PackedDataset, profile: Profile, seed: int, progress: Progress
) -> dict[str, dict]:
    """Of one seed {"muon" | "muonclip": {"loss": [step], "max_logit": [step]}}; both arms see the same batches."""
    arms, size = {"muon": None, "muonclip": profile.clip.tau}, profile.clip
    return {arm: _summary(clip_run(config, dataset, size, tau, seed, progress)) for arm, tau in arms.items()}


def by_arm(results: list[dict]) -> dict[str, list[dict]]:
    """{arm: one result a seed}."""
    return {arm: [result[arm] for result in results] for arm in ("muon", "muonclip")}


def values(profile: Profile, results: list[dict]) -> dict[str, list[float]]:
    """One number a seed for each claim: what is judged, in one place."""
    tau, runs = profile.clip.tau, by_arm(results)
    logits = {arm: [run["max_logit"] for run in seeds] for arm, seeds in runs.items()}
    held = [max(after_contact(steps, tau), default=0.0) / tau for steps in logits["muonclip"]]
    growth = [one_step_growth(steps, tau) for steps in logits["muon"]]
    tail = max(1, profile.clip.steps // TAIL)
    final = {arm: [statistics.mean(run["loss"][-tail:]) for run in seeds] for arm, seeds in runs.items()}
    return {
        "muon-logits-explode": [max(steps) / tau for steps in logits["muon"]],
        "qk-clip-caps-logits": [max(steps[len(steps) // 2 :]) / tau for steps in logits["muonclip"]],
        "qk-clip-holds-up-to-one-update": [most / grown for most, grown in zip(held, growth, strict=True)],
        "qk-clip-costs-no-loss": [late - early for early, late in zip(final["muon"], final["muonclip"], strict=True)],
    }


def clip_run(
    config: K2Config, dataset: PackedDataset, size: ClipSize, tau: float | None, seed: int, progress: Progress = silent
) -> list[StepRecord]:
    """One run at a constant learning rate with a short warm-up; `tau=None` is plain Muon. Seeds fix weights and data."""

    def batches(start: int) -> Iterator[Batch]:
        return map(Batch.from_sequences, dataset.batches(size.batch_size, size.seq_len, seed=seed, start_step=start))

    def lr_at(step: int) -> float:
        return size.lr * min(1.0, (step + 1) / WARMUP)

    torch.manual_seed(seed)
    model = K2Model(config).to(machine.device())
    optimizer = MuonClip.for_model(model, lr=size.lr, tau=tau)
    name = f"{'Muon' if tau is None else f'MuonClip, τ = {tau:g}'}, seed {seed}"
    return train(model, optimizer, batches, steps=size.steps, lr_at=lr_at, progress=progress, description=name)


def _summary(records: list[StepRecord]) -> dict:
    return {"loss": [r.loss for r in records], "max_logit": [max(map(max, r.max_logits)) for r in records]}


def one_step_growth(max_logits: list[float], above: float) -> float:
    """Largest ratio of a step's maximum to that of the step before, where that was above `above` already; 1 if none was.

    The clip acts on a maximum measured before the update, so τ times this ratio, taken from a run *without* the clip, is
    what a head that was just clipped to τ may reach.
    """
    pairs = itertools.pairwise(max_logits)
    return max((late / early for early, late in pairs if early > above), default=1.0)


def after_contact(max_logits: list[float], tau: float) -> list[float]:
    """The maxima after the first that passed τ; empty if none did."""
    first = next((i for i, value in enumerate(max_logits) if value > tau), len(max_logits))
    return max_logits[first + 1 :]


STUDY = Study("03_muonclip", "clip", measure, values)

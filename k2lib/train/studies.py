"""Small controlled runs behind the figures of notebook 03: the same model, data and seeds, one thing changed."""

import itertools
from collections.abc import Callable, Iterable, Iterator

import torch

from k2lib import machine
from k2lib.config import K2Config
from k2lib.corpus.packing import PackedDataset
from k2lib.model import K2Model
from k2lib.optim import MuonClip
from k2lib.profiles import ClipSize
from k2lib.train.batch import Batch
from k2lib.train.loop import StepRecord, train


def clip_run(
    config: K2Config,
    dataset: PackedDataset,
    size: ClipSize,
    *,
    tau: float | None,
    seed: int,
    progress: Callable[[Iterable, str, int], Iterable] | None = None,
) -> list[StepRecord]:
    """One run at a constant learning rate with a short warm-up; `tau=None` is plain Muon. Seeds fix weights and data."""
    torch.manual_seed(seed)
    model = K2Model(config).to(machine.device())
    optimizer = MuonClip.for_model(model, lr=size.lr, tau=tau)

    def source(start: int) -> Iterator[Batch]:
        return map(Batch.from_sequences, dataset.batches(size.batch_size, size.seq_len, seed=seed, start_step=start))

    name = "Muon" if tau is None else f"MuonClip, τ = {tau:g}"
    return train(
        model,
        optimizer,
        source,
        steps=size.steps,
        lr_at=lambda step: size.lr * min(1.0, (step + 1) / 10),
        progress=progress,
        description=f"{name}, seed {seed}",
    )


def clip_study(
    config: K2Config, dataset: PackedDataset, size: ClipSize, progress: Callable | None = None
) -> dict[str, list[dict]]:
    """{"muon" | "muonclip": one {"loss": [step], "max_logit": [step]} a seed}; the arms of a seed see the same batches."""

    def summary(records: list[StepRecord]) -> dict:
        return {
            "loss": [r.loss for r in records],
            "max_logit": [max(max(heads) for heads in r.max_logits) for r in records],
        }

    arms = {"muon": None, "muonclip": size.tau}
    return {
        arm: [
            summary(clip_run(config, dataset, size, tau=tau, seed=seed, progress=progress))
            for seed in range(size.seeds)
        ]
        for arm, tau in arms.items()
    }


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


def count_spikes(losses: list[float], window: int = 50, deviations: float = 6.0) -> int:
    """Steps whose loss exceeds the running median of the last `window` losses by `deviations` median deviations.

    The paper calls its run free of spikes by eye (Fig. 3); this is our stated rule for the same statement. A step within
    an ongoing spike is counted too.
    """
    count = 0
    for i in range(window, len(losses)):
        recent = torch.tensor(losses[i - window : i], dtype=torch.float64)
        median = recent.median()
        spread = (recent - median).abs().median() * 1.4826
        count += bool(losses[i] > median + deviations * spread)
    return count

"""How far do attention logits grow under AdamW, Muon, Muon by heads, and with the clip, from sane rates to too high ones?

Each optimizer runs at its own best rate and at multiples of it, constant after the warm-up, on the same batches. The
claims of the clip are judged at the rate that hurts (`HIGH`), those between optimizers at the best (`SANE`).
Orthogonalising every head's queries, keys and values by themselves is what later models do (Kimi K3, GLM-5).
"""

import itertools

from k2lib.config import K2Config
from k2lib.corpus.packing import PackedDataset
from k2lib.profiles import OptimizerSize, Profile
from k2lib.progress import Progress
from k2lib.studies.spikes import count_spikes
from k2lib.studies.study import Study
from k2lib.studies.training import ADAMW, Arm, final, heads_apart, summary, trained

SANE, HIGH, WILD = "1", "3", "10"  # times the best rate
MULTIPLES = (SANE, HIGH, WILD)


def arms(config: K2Config, size: OptimizerSize) -> dict[str, Arm]:
    """Each at its own best rate."""
    apart, model = heads_apart(config), size.large
    found = (
        Arm("AdamW", model.adamw, ADAMW),
        Arm("Muon", model.muon),
        Arm("MuonClip", model.muon, tau=size.tau),
        Arm("Muon by heads", model.muon, apart),
        Arm("MuonClip by heads", model.muon, apart, tau=size.tau),
    )
    return {arm.name: arm for arm in found}


def measure(
    config: K2Config, dataset: PackedDataset, profile: Profile, run: int, progress: Progress
) -> dict[str, dict[str, dict]]:
    """{arm: {multiple of its best rate: {"loss": [step], "max_logit": [step]}}}."""
    size = profile.growth
    config = config.replace(**size.large.fields)

    def curves(arm: Arm, multiple: str) -> dict[str, list[float]]:
        raised = Arm(f"{arm.name} at {multiple} times", arm.lr * float(multiple), arm.rules, arm.tau, constant=True)
        return summary(trained(config, dataset, size, raised, run + 1, progress)[2])

    return {name: {m: curves(arm, m) for m in MULTIPLES} for name, arm in arms(config, size).items()}


def values(profile: Profile, results: list[dict]) -> dict[str, list[float]]:
    """One number a seed for each claim: what is judged, in one place."""
    tau = profile.growth.tau
    high = {arm: [result[arm][HIGH]["max_logit"] for result in results] for arm in results[0]}
    peaks = {arm: [max(result[arm][SANE]["max_logit"]) for result in results] for arm in results[0]}
    losses = {arm: [final(result[arm][SANE]["loss"]) for result in results] for arm in results[0]}
    held = [max(after_contact(steps, tau), default=0.0) / tau for steps in high["MuonClip"]]
    grown = [one_step_growth(steps, tau) for steps in high["Muon"]]
    whole, apart = "Muon", "Muon by heads"
    return {
        "muon-logits-explode": [max(steps) / tau for steps in high[whole]],
        "qk-clip-caps-logits": [max(steps[len(steps) // 2 :]) / tau for steps in high["MuonClip"]],
        "qk-clip-holds-up-to-one-update": [most / growth for most, growth in zip(held, grown, strict=True)],
        "qk-clip-costs-no-loss": [
            final(result["MuonClip"][HIGH]["loss"]) - final(result[whole][HIGH]["loss"]) for result in results
        ],
        "muon-explodes-more-than-adamw": [m / a for m, a in zip(peaks[whole], peaks["AdamW"], strict=True)],
        "muon-by-heads-grows-less": [max(a) / max(w) for a, w in zip(high[apart], high[whole], strict=True)],
        "muon-by-heads-needs-no-clip": [max(steps) / tau for steps in high[apart]],
        "muon-by-heads-learns-as-well": [a - w for a, w in zip(losses[apart], losses[whole], strict=True)],
    }


def spikes(results: list[dict], multiple: str) -> dict[str, int]:
    """Spikes of Muon's losses over those of its clipped twin on the same batches, and the other way round, all seeds."""
    runs = [(result["Muon"][multiple]["loss"], result["MuonClip"][multiple]["loss"]) for result in results]
    apart = [[free - held for free, held in zip(*pair, strict=True)] for pair in runs]
    return {
        "without the clip": sum(map(count_spikes, apart)),
        "with it": sum(count_spikes([-difference for difference in run]) for run in apart),
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


STUDY = Study("03_muonclip", "growth", measure, values)

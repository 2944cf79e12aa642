"""How many of AdamW's tokens does MuonClip need for AdamW's loss, and what do its weights look like? (section 2.1)

AdamW trains once on all tokens; MuonClip on shares of them, each with a whole schedule of its own, since a training cut
short before its rate has fallen is no smaller training. Where MuonClip's losses cross AdamW's is the share.
"""

import itertools
import math
import statistics

import torch
from torch import Tensor

from k2lib import machine
from k2lib.config import K2Config
from k2lib.corpus.packing import PackedDataset
from k2lib.model import K2Model
from k2lib.optim import MuonClip
from k2lib.profiles import OptimizerSize, Profile, StudyModel
from k2lib.progress import Progress
from k2lib.studies.rates import MODELS
from k2lib.studies.study import Study
from k2lib.studies.training import ADAMW, Arm, fresh_loss, trained

SHARES = (0.25, 0.4, 0.6, 1.0)  # of AdamW's tokens, that MuonClip trains on


def measure(
    config: K2Config, dataset: PackedDataset, profile: Profile, run: int, progress: Progress
) -> dict[str, dict]:
    """{model: {"AdamW": one, "MuonClip": [one a share]}} of {"loss": [step], "fresh": loss, "seconds": of a step}, and
    {"entropy": {optimizer: [matrix]}} of the weights after all tokens."""
    size = profile.tokens
    return {name: _compared(config, dataset, size, getattr(size, name), run + 1, progress) for name in MODELS}


def _compared(
    config: K2Config, dataset: PackedDataset, size: OptimizerSize, model: StudyModel, seed: int, progress: Progress
) -> dict:
    config = config.replace(**model.fields)

    def run(arm: Arm, share: float) -> tuple[dict, K2Model]:
        steps = max(1, round(share * size.steps))
        found, _, records = trained(config, dataset, size, arm, seed, progress, steps)
        seconds, losses = statistics.median(r.seconds for r in records), [r.loss for r in records]
        return {"loss": losses, "fresh": fresh_loss(found, dataset, size, seed), "seconds": seconds}, found

    adamw, with_adamw = run(Arm("AdamW", model.adamw, ADAMW), 1.0)
    runs = [run(Arm(f"MuonClip on {share:.0%}", model.muon, tau=size.tau), share) for share in SHARES]
    entropy = {"AdamW": entropies(with_adamw), "MuonClip": entropies(runs[-1][1])}
    return {"AdamW": adamw, "MuonClip": [one for one, _ in runs], "entropy": entropy}


def values(_profile: Profile, results: list[dict]) -> dict[str, list[float]]:
    """One number a seed for each claim, the mean over both models."""
    shares = [[needed(result[name]) for name in MODELS] for result in results]
    paces = [[pace(result[name]) for name in MODELS] for result in results]
    return {
        "muon-halves-the-compute": [statistics.mean(one) for one in shares],
        "muon-saves-time": [
            statistics.mean(s * p for s, p in zip(share, slower, strict=True))
            for share, slower in zip(shares, paces, strict=True)
        ],
        "muon-spreads-singular-values": [
            statistics.mean(share_spread(result[name]["entropy"]) for name in MODELS) for result in results
        ],
    }


def needed(result: dict) -> float:
    """The share of AdamW's tokens after which MuonClip has AdamW's loss."""
    return crossing(SHARES, [one["fresh"] for one in result["MuonClip"]], result["AdamW"]["fresh"])


def pace(result: dict) -> float:
    """Seconds of a step with MuonClip over those with AdamW, optimizers included."""
    return result["MuonClip"][-1]["seconds"] / result["AdamW"]["seconds"]


def crossing(shares: tuple[float, ...], losses: list[float], target: float) -> float:
    """Where falling losses reach `target`, straight between measured points over the logarithm of the share.

    Beyond the measured points the line of the nearest two goes on. NaN if that line does not fall.
    """
    points = list(zip(map(math.log, shares), losses, strict=True))
    for (x, early), (right, late) in itertools.pairwise(points):
        if late <= target or right == points[-1][0]:
            slope = (late - early) / (right - x)
            return math.exp(x + (target - early) / slope) if slope < 0 else math.nan
    raise ValueError(f"a crossing needs at least two shares, got {shares}")


@torch.no_grad()
def entropies(model: K2Model) -> list[float]:
    """Entropy of the squared singular values of each hidden matrix over that of equal ones (Moonlight 3.4): 1 is the most."""
    groups = MuonClip.for_model(model, lr=0.0, tau=None).param_groups
    hidden = [(p, g["blocks"]) for g in groups if g["algorithm"] == "muon" for p in g["params"]]
    return [entropy(matrix) for p, blocks in hidden for matrix in matrices(p, blocks)]


def matrices(stack: Tensor, blocks: int) -> Tensor:
    """[count, n, m] on the host in fp32: a parameter [n, m] or [E, n, m] as Muon sees it."""
    return stack.detach().to(machine.HOST).float().reshape(-1, stack.shape[-2] // blocks, stack.shape[-1])


def entropy(matrix: Tensor) -> float:
    """−Σ p log p over log r, p the shares of r squared singular values."""
    squares = torch.linalg.svdvals(matrix).double().square()
    shares = squares / squares.sum()
    return (torch.special.entr(shares).sum() / math.log(len(shares))).item()


def share_spread(found: dict[str, list[float]]) -> float:
    """The share of matrices whose entropy is higher under MuonClip."""
    return statistics.mean(float(m > a) for m, a in zip(found["MuonClip"], found["AdamW"], strict=True))


STUDY = Study("03_muonclip", "tokens", measure, values)

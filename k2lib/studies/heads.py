"""Head by head under the paper's schedule: which heads are clipped, when does it end, and what else could be done? (2.1)

Five trainings on the same batches at a rate that hurts: no clip, QK-Clip by heads, QK-Clip with one factor a layer (the
announcement's form), a soft cap on the logits instead (Gemma 2), and normalised queries and keys instead, which latent
attention could not use when decoding, as its keys are never formed there.
"""

import functools
import statistics
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from k2lib.config import K2Config
from k2lib.corpus.packing import PackedDataset
from k2lib.model import K2Model
from k2lib.model.attention import LatentAttention
from k2lib.model.regions import counts
from k2lib.optim import QKClip
from k2lib.optim.qk_clip import HeadReport
from k2lib.profiles import OptimizerSize, Profile
from k2lib.progress import Progress
from k2lib.studies.growth import HIGH
from k2lib.studies.study import Study
from k2lib.studies.training import Arm, fresh_loss, trained

FREE, HEADS, LAYER, CAPPED, NORMALISED = "no clip", "by heads", "one factor a layer", "soft cap", "normalised"


class LayerClip(QKClip):
    """QK-Clip with one γ a layer, that of its worst head."""

    def clip(self, modules: Mapping[str, nn.Module], maxima: Mapping[str, Tensor]) -> dict[str, HeadReport]:
        return super().clip(modules, {name: each.amax().expand_as(each) for name, each in maxima.items()})


def measure(
    config: K2Config, dataset: PackedDataset, profile: Profile, run: int, progress: Progress
) -> dict[str, dict]:
    """{arm: {"loss": [step], "fresh": loss, "max_logits": [step][layer][head], before a cap}}."""
    size = profile.heads
    config, found = config.replace(**size.large.fields), {}
    for arm in arms(size):
        model, _, records = trained(config, dataset, size, arm, run + 1, progress)
        logits, losses = [record.max_logits for record in records], [record.loss for record in records]
        found[arm.name] = {"loss": losses, "fresh": fresh_loss(model, dataset, size, run + 1), "max_logits": logits}
    return found


def arms(size: OptimizerSize) -> list[Arm]:
    lr, tau = size.large.muon * float(HIGH), size.tau
    return [
        Arm(FREE, lr),
        Arm(HEADS, lr, tau=tau),
        Arm(LAYER, lr, tau=tau, clip=LayerClip),
        Arm(CAPPED, lr, change=functools.partial(soft_cap, cap=tau)),
        Arm(NORMALISED, lr, change=normalise),
    ]


def values(profile: Profile, results: list[dict]) -> dict[str, list[float]]:
    """One number a seed for each claim."""
    tau = profile.heads.tau
    clipped = [factors(result[HEADS]["max_logits"], tau) for result in results]
    capped = [torch.tensor(result[CAPPED]["max_logits"]).max().item() for result in results]
    return {
        "clip-deactivates-itself": [(found < 1).any(0).float().mean().item() for found in clipped],
        "logits-fall-by-themselves": [last_clip(found) for found in clipped],
        "clip-per-head-beats-global": [result[LAYER]["fresh"] - result[HEADS]["fresh"] for result in results],
        "softcap-leaves-logits-growing": [largest / tau for largest in capped],
    }


def factors(max_logits: list, tau: float, layer: bool = False) -> Tensor:
    """γ [step, layer, head] from the maxima: each head's own, or its layer's."""
    largest = torch.tensor(max_logits)
    largest = largest.amax(2, keepdim=True).expand_as(largest) if layer else largest
    return tau / largest.clamp_min(tau)


def last_clip(gamma: Tensor) -> float:
    """When the clip last acted, as a share of the steps; 0 if it never did."""
    acted = (gamma < 1).flatten(1).any(1).nonzero()
    return (acted[-1].item() + 1) / len(gamma) if len(acted) else 0.0


def undeserved(max_logits: list, tau: float) -> float:
    """By what one factor a layer has shrunk the logits of heads that were below τ themselves: mean over heads of Π γ."""
    largest, gamma = torch.tensor(max_logits), factors(max_logits, tau, layer=True)
    return statistics.fmean(torch.where(largest > tau, 1.0, gamma).prod(0).flatten().tolist())


def soft_cap(model: K2Model, cap: float) -> None:
    """Logits s become cap · tanh(s / cap); what is remembered is s."""
    for attention in _attentions(model):
        attention._over_keys = functools.partial(_capped, attention, cap)


def _capped(
    attention: LatentAttention, cap: float, q: Tensor, k: Tensor, v: Tensor, batch: int, starts: Tensor | None
) -> Tensor:
    """[B, T, H·V] from q, k [B·H, T, ·] and v, with all T×T logits at once. ValueError for several documents in a sequence."""
    if starts is not None:
        raise ValueError("the soft cap of this study knows one document a sequence; train it on unpacked text")
    future = torch.ones(q.shape[1], q.shape[1], dtype=torch.bool, device=q.device).triu(1)
    logits = (q @ k.transpose(1, 2)).float() * attention.config.softmax_scale
    if attention.training and counts():
        attention._remember(logits.masked_fill(future, -torch.inf).amax((1, 2)).view(batch, -1).amax(0))
    weights = (cap * torch.tanh(logits / cap)).masked_fill(future, -torch.inf).softmax(-1).to(v.dtype)
    return (weights @ v).unflatten(0, (batch, -1)).transpose(1, 2).flatten(2)


def normalise(model: K2Model) -> None:
    """Queries and keys of every head to a root mean square of 1, times a gain that is learned for each of their numbers."""
    for attention in _attentions(model):
        width = attention.config.qk_head_dim
        ones = attention.o_proj.weight.new_ones(width)
        attention.query_gain, attention.key_gain = nn.Parameter(ones), nn.Parameter(ones.clone())
        attention._over_keys = functools.partial(_normalised, attention, attention._over_keys)


def _normalised(
    attention: LatentAttention, plain, q: Tensor, k: Tensor, v: Tensor, batch: int, starts: Tensor | None
) -> Tensor:
    pairs = ((q, attention.query_gain), (k, attention.key_gain))
    q, k = (F.rms_norm(x.float(), x.shape[-1:], gain.float()).to(v.dtype) for x, gain in pairs)
    return plain(q, k, v, batch, starts)


def _attentions(model: K2Model) -> list[LatentAttention]:
    return [module for module in model.modules() if isinstance(module, LatentAttention)]


STUDY = Study("03_muonclip", "heads", measure, values)

"""QK-Clip: heads whose largest attention logit passed τ have their query and key weights shrunk (Algorithm 1, §2.1).

For head h with largest logit S_h > τ: γ_h = τ/S_h, and its logits must shrink by exactly γ_h. In latent attention both
nope parts take √γ_h and the rotary query γ_h, because its key is shared by all heads; shared key and values stay. The
clip acts after the update on a maximum measured before it, so τ is a soft cap: the next step may exceed it by one
update's growth.

Any module takes part that has `max_logits` ([H] fp32 or None, the running maximum since the last step) and
`qk_parts()`, rows of weights or biases with the power of γ that each takes. No other knowledge of the model is
needed, and any optimizer can be used. The paper is silent on keys that a group of heads shares (grouped-query
attention). Here such a key takes the smallest γ of its group and each query makes up the difference, so that every
head's logits shrink by its own γ and no other. Heads of a group are neighbours.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from k2lib import machine
from k2lib.model.attention import QKPart
from k2lib.optim import foreign
from k2lib.optim.rescale import rescale_heads

UNSEEN = -torch.inf  # the maximum of a module that did not run; neutral in a maximum over ranks


@dataclass(frozen=True)
class HeadReport:
    """What one attention module's last clip saw and did; all [H]."""

    max_logits: Tensor
    gamma: Tensor
    ever_clipped: Tensor  # bool, since training began


class QKClip:
    """Clips the heads of attention modules; call `step(model)` once an optimisation step, after the optimizer's own.

    Works beside any optimizer; `MuonClip` calls it itself. `report` holds what the last step saw, by module name. With
    `group`, the process group of the data-parallel ranks, maxima are taken over them in one collective, and all its
    ranks must call `step`.
    """

    def __init__(self, tau: float = 100.0, group: dist.ProcessGroup | None = None):
        if not tau > 0:
            raise ValueError(f"tau is {tau}; the threshold of QK-Clip must be positive (the paper uses 100)")
        self.tau, self.group = tau, group
        self.attached: dict[str, nn.Module] = {}  # what `step()` acts on, if `attach` found it
        self.ever_clipped: dict[str, Tensor] = {}
        self.report: dict[str, HeadReport] = {}

    @classmethod
    def attach(
        cls, model: nn.Module, tau: float = 100.0, *, example: object = None, group: dist.ProcessGroup | None = None
    ) -> "QKClip":
        """A clip for any model whose attention calls `scaled_dot_product_attention`, or is `nn.MultiheadAttention`.

        It watches training forwards from now on; `step()` clips. `example` is what the model is called with once, to find the
        weights (see `k2lib.optim.foreign.watch`). ValueError says why a model cannot be clipped, as with normalised queries.
        """
        clip = cls(tau, group)
        clip.attached = foreign.watch(model, example)
        return clip

    @property
    def heads_ever_clipped(self) -> int:
        """How many heads were clipped at least once. The paper: 12.7% of K2's in its first 70,000 steps."""
        return sum(int(heads.sum()) for heads in self.ever_clipped.values())

    @torch.no_grad()
    def step(self, model: nn.Module | Mapping[str, nn.Module] | None = None) -> dict[str, HeadReport]:
        """Scale the heads above τ of a model (or of its attention modules by name) and clear the maxima.

        Without `model`, those that `attach` found.

        A module without a maximum (no training forward since the last step) is left alone. ValueError if there is no
        attention module; FloatingPointError, before any weight changes, for a maximum that is not finite.
        """
        model = self.attached if model is None else model
        modules = attention_modules(model) if isinstance(model, nn.Module) else model
        if not modules:
            raise ValueError(
                "there is no attention to clip; give the model, or make the clip with QKClip.attach(model)"
            )
        maxima = self.maxima(modules)
        if maxima and not machine.capturing() and not all_finite(maxima):  # the one wait for the device
            refuse(modules, maxima)
        return self.clip(modules, maxima)

    @torch.no_grad()
    def maxima(self, modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
        """[H] fp32 of every module that ran, over all ranks in one collective; a NaN counts as ∞. Waits for no device.

        With a group every module is named, since another rank may have run it; −∞ if none did.
        """
        for module in modules.values():
            module.qk_parts()  # what cannot be clipped says so before any weight moves
        ran = {name: m for name, m in modules.items() if self.group is not None or m.max_logits is not None}
        if not ran:
            return {}
        local = [_local(module) for module in ran.values()]
        packed = torch.cat(local)
        packed = torch.where(packed.isnan(), torch.inf, packed)  # a maximum over ranks may lose a NaN
        if self.group is not None:
            dist.all_reduce(packed, op=dist.ReduceOp.MAX, group=self.group)
        return dict(zip(ran, packed.split([len(largest) for largest in local]), strict=True))

    @torch.no_grad()
    def clip(self, modules: Mapping[str, nn.Module], maxima: Mapping[str, Tensor]) -> dict[str, HeadReport]:
        """Scale by given maxima {module name: [H]}, as `maxima` returns them, and clear the modules' own."""
        parts, factors = [], []
        for name, largest in maxima.items():
            gamma = self.tau / largest.clamp_min(self.tau)  # 1 at or below τ, negative maxima included
            own = modules[name].qk_parts()
            parts += own
            factors += _factors(own, gamma)
            clipped = gamma < 1
            if name in self.ever_clipped:
                clipped = clipped | self.ever_clipped[name].to(clipped.device)
            self.ever_clipped[name] = clipped
            self.report[name] = HeadReport(largest, gamma, clipped)
        rescale_heads(parts, factors)
        forget(modules)
        return {name: self.report[name] for name in maxima}

    def state_dict(self) -> dict:
        return {"tau": self.tau, "ever_clipped": dict(self.ever_clipped)}

    def load_state_dict(self, state: dict) -> None:
        """Which heads were ever clipped; τ stays that of the constructor, so that a resumed run may choose another."""
        self.ever_clipped = dict(state["ever_clipped"])


def attention_modules(model: nn.Module) -> dict[str, nn.Module]:
    """The modules of `model` that QK-Clip can act on, by name; ValueError if there are none."""
    found = {name: module for name, module in model.named_modules() if hasattr(module, "qk_parts")}
    if not found:
        raise ValueError("no module of this model has qk_parts(); QK-Clip cannot see its attention heads")
    return found


def all_finite(maxima: Mapping[str, Tensor]) -> Tensor:
    """Whether no maximum is infinite: a bool on their device."""
    return torch.cat(list(maxima.values())).amax() < torch.inf


def refuse(modules: Mapping[str, nn.Module], maxima: Mapping[str, Tensor]) -> None:
    """FloatingPointError naming the first module whose maximum is not finite, all maxima cleared.

    Cleared, because they belong to a step that cannot be taken: the weights have not moved, so the next forward pass
    measures them again, and one bad batch does not stop all steps after it.
    """
    forget(modules)
    for name, largest in maxima.items():
        if (largest == torch.inf).any():
            raise FloatingPointError(
                f"{name or 'the module'} has a non-finite maximum logit {largest.tolist()}; no weight was changed. "
                "Skip this batch, or lower the learning rate"
            )


def forget(modules: Mapping[str, nn.Module]) -> None:
    """Clear the running maxima, as after a step that is skipped because its forward pass cannot be trusted."""
    for module in modules.values():
        module.max_logits = None


def _local(module: nn.Module) -> Tensor:
    """[H] fp32 maxima of a module on this rank. One that did not run still takes its place in the collective."""
    if module.max_logits is not None:
        return module.max_logits.float()
    parts = module.qk_parts()  # queries have all the heads
    return torch.full((max(part.heads for part in parts),), UNSEEN, device=parts[0].weight.device)


def _factors(parts: list[QKPart], gamma: Tensor) -> list[Tensor]:
    """Each part's share of γ [H]; parts of fewer than H heads are the keys of groups of heads."""
    excess = torch.ones_like(gamma)  # [H] what a shared key took beyond a head's own share; its query gives it back
    shared = {}
    for place, part in enumerate(parts):
        if part.heads < len(gamma):
            least = gamma.view(part.heads, -1).amin(1)
            shared[place] = least**part.exponent
            excess = (gamma / least.repeat_interleave(len(gamma) // part.heads)) ** part.exponent
    return [shared.get(place, gamma**part.exponent * excess) for place, part in enumerate(parts)]

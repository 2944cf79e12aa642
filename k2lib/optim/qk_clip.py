"""QK-Clip: heads whose largest attention logit passed τ have their query and key weights shrunk (Algorithm 1, §2.1).

For head h with largest logit S_h > τ: γ_h = τ/S_h, and its logits must shrink by exactly γ_h. In latent attention both
nope parts take √γ_h and the rotary query γ_h, because its key is shared by all heads; shared key and values stay. The clip acts
after the update on a maximum measured before it, so τ is a soft cap: the next step may exceed it by one update's growth.

Any module takes part that has `max_logits` ([H] fp32 or None, the running maximum since the last step) and `qk_parts()`
(rows of weights and the power of γ each takes). No other knowledge of the model is needed, and any optimizer can be used.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class HeadReport:
    """What one attention module's last clip saw and did; all [H]."""

    max_logits: Tensor
    gamma: Tensor
    ever_clipped: Tensor  # bool, since training began


class QKClip:
    """Clips the heads of attention modules; call `step(model)` once an optimisation step, after the optimizer's own.

    Works beside any optimizer; `MuonClip` calls it itself. `report` holds what the last step saw, by module name.
    """

    def __init__(self, tau: float = 100.0):
        if not tau > 0:
            raise ValueError(f"tau is {tau}; the threshold of QK-Clip must be positive (the paper uses 100)")
        self.tau = tau
        self.ever_clipped: dict[str, Tensor] = {}
        self.report: dict[str, HeadReport] = {}

    @torch.no_grad()
    def step(self, model: nn.Module | dict[str, nn.Module]) -> dict[str, HeadReport]:
        """Scale the heads above τ of a model (or of its attention modules by name) and clear the maxima.

        A module without a maximum (no training forward since the last step) is left alone. ValueError if there is no
        attention module; FloatingPointError, before any weight changes, for a maximum that is not finite.
        """
        modules = attention_modules(model) if isinstance(model, nn.Module) else model
        seen = {name: module.max_logits for name, module in modules.items() if module.max_logits is not None}
        if seen:
            finite = torch.stack([maxima.isfinite().all() for maxima in seen.values()]).tolist()
            for name, fine in zip(seen, finite, strict=True):
                if not fine:
                    raise FloatingPointError(
                        f"{name} has a non-finite maximum logit {seen[name].tolist()}; no weight was "
                        "changed. Lower the learning rate, or resume from an earlier checkpoint"
                    )
        for name, maxima in seen.items():
            gamma = self.tau / maxima.clamp_min(self.tau)  # 1 at or below τ, negative maxima included
            for part in modules[name].qk_parts():
                rows = part.weight.view(part.heads, -1, part.weight.shape[-1])[:, part.start : part.stop]
                rows.mul_((gamma**part.exponent).to(rows.dtype)[:, None, None])
            clipped = gamma < 1
            self.ever_clipped[name] = clipped | self.ever_clipped.get(name, torch.zeros_like(clipped))
            self.report[name] = HeadReport(maxima, gamma, self.ever_clipped[name])
            modules[name].max_logits = None
        return self.report

    def state_dict(self) -> dict:
        return {"tau": self.tau, "ever_clipped": dict(self.ever_clipped)}

    def load_state_dict(self, state: dict) -> None:
        self.tau, self.ever_clipped = state["tau"], dict(state["ever_clipped"])


def attention_modules(model: nn.Module) -> dict[str, nn.Module]:
    """The modules of `model` that QK-Clip can act on, by name; ValueError if there are none."""
    found = {name: module for name, module in model.named_modules() if hasattr(module, "qk_parts")}
    if not found:
        raise ValueError("no module of this model has qk_parts(); QK-Clip cannot see its attention heads")
    return found

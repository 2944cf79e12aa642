"""MuonClip: Muon for hidden matrices, AdamW for the rest, QK-Clip after the update (Algorithm 1, §2.1).

M ← μM + G;  O = NewtonSchulz(μM + G) · 0.2 · √max(n, m);  W ← W − η(O + λW).  The factor gives Muon's update the root mean
square that AdamW's has, so one learning rate and one weight decay serve both. Same-shaped matrices of the whole model are
orthogonalised in one batched call; a stack [E, n, m] is E matrices, a fused [gate | up] two.

What surprised: an expert that no token chose has a zero gradient but not a zero momentum, and because orthogonalisation
forgets magnitudes it would keep receiving full-sized updates from stale directions for hundreds of steps. A matrix whose
gradient is exactly zero is therefore left alone in that step.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from k2lib.optim.newton_schulz import newton_schulz
from k2lib.optim.qk_clip import HeadReport, QKClip, attention_modules

RMS = 0.2  # of an update; Moonlight, Table 8: within AdamW's usual 0.2 to 0.4


class MuonClip(torch.optim.Optimizer):
    """A `torch.optim.Optimizer`; each group says `algorithm`: "muon" (matrices) or "adamw".

    Moonlight's constants are the defaults. `blocks` of a group is the number of equal matrices stacked in the rows of each
    weight (2 for a fused gate and up projection). Use `MuonClip.for_model` to get the groups and the clip.
    """

    def __init__(
        self,
        param_groups: Iterable,
        lr: float,
        *,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        ns_steps: int = 5,
        coefficients: str | tuple = "moonlight",
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        ns_dtype: torch.dtype | None = None,
        qk_clip: QKClip | None = None,
    ):
        for name, value in (("lr", lr), ("weight_decay", weight_decay)):
            if not value >= 0:
                raise ValueError(f"{name} is {value}; it cannot be negative")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum is {momentum}; choose a value in [0, 1), such as 0.95")
        defaults = dict(
            lr=lr,
            weight_decay=weight_decay,
            momentum=momentum,
            ns_steps=ns_steps,
            coefficients=coefficients,
            betas=betas,
            eps=eps,
            algorithm="muon",
            blocks=1,
        )
        self.ns_dtype = ns_dtype  # None: bf16 where the hardware multiplies it fast
        super().__init__(param_groups, defaults)
        self.qk_clip = qk_clip
        self.attention: dict[str, nn.Module] = {}  # what the clip acts on, by name

    @classmethod
    def for_model(cls, model: nn.Module, lr: float, *, tau: float | None = 100.0, **settings) -> "MuonClip":
        """Groups for `model`: matrices and expert stacks on Muon; embeddings, LM head, norms and biases on AdamW.

        tau=None leaves the clip out: plain Muon.
        """
        embeddings = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
        groups: dict[tuple[str, int], list] = defaultdict(list)
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            on_adamw = parameter.ndim < 2 or id(parameter) in embeddings or name.split(".")[-2:-1] == ["lm_head"]
            blocks = 2 if name.endswith("gate_up_proj") else 1
            groups["adamw", 1] += [(name, parameter)] if on_adamw else []
            groups["muon", blocks] += [] if on_adamw else [(name, parameter)]
        described = [
            {"params": params, "algorithm": algorithm, "blocks": blocks}
            for (algorithm, blocks), params in groups.items()
            if params
        ]
        optimizer = cls(described, lr, qk_clip=None if tau is None else QKClip(tau), **settings)
        optimizer.attention = attention_modules(model) if tau is not None else {}
        return optimizer

    @property
    def clip_report(self) -> dict[str, HeadReport]:
        """Per attention module: the maxima seen, γ, and which heads were ever clipped. Empty for plain Muon."""
        return self.qk_clip.report if self.qk_clip else {}

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Update, then clip. FloatingPointError naming the parameter, before anything changes, if a gradient is not finite."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._refuse_non_finite()
        for group in self.param_groups:
            if group["algorithm"] == "adamw":
                self._adamw(group)
        self._muon([group for group in self.param_groups if group["algorithm"] == "muon"])
        if self.qk_clip:
            self.qk_clip.step(self.attention)
        return loss

    def _muon(self, groups: list[dict]) -> None:
        batches: dict[tuple, list] = defaultdict(list)  # matrices of one shape, whatever layer they come from
        for group in groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"].mul_(group["momentum"]).add_(parameter.grad)
                direction = parameter.grad.add(momentum, alpha=group["momentum"])
                n, m = parameter.shape[-2] // group["blocks"], parameter.shape[-1]
                key = (min(n, m), max(n, m), group["ns_steps"], group["coefficients"], parameter.device)
                batches[key].append((parameter, direction.reshape(-1, n, m), group))
        for (_, m, steps, coefficients, _), entries in batches.items():
            wide = [d if d.shape[-2] <= d.shape[-1] else d.mT for _, d, _ in entries]
            orthogonal = newton_schulz(torch.cat(wide), steps, coefficients, self.ns_dtype).split(
                [w.shape[0] for w in wide]
            )
            for (parameter, direction, group), update in zip(entries, orthogonal, strict=True):
                update = update if direction.shape[-2] <= direction.shape[-1] else update.mT
                update = update.to(parameter.dtype).reshape(parameter.shape)
                decay = group["lr"] * group["weight_decay"]
                alive = 1.0
                if parameter.ndim == 3:
                    alive = parameter.grad.flatten(1).any(1).to(parameter.dtype)[:, None, None]
                    update = update * alive
                parameter.mul_(1 - decay * alive).add_(update, alpha=-group["lr"] * RMS * m**0.5)

    def _adamw(self, group: dict) -> None:
        params = [p for p in group["params"] if p.grad is not None]
        if not params:
            return
        for p in params:
            if not self.state[p]:
                self.state[p].update(step=torch.zeros(()), exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p))
        states = [self.state[p] for p in params]
        torch._fused_adamw_(
            params,
            [p.grad for p in params],
            [s["exp_avg"] for s in states],
            [s["exp_avg_sq"] for s in states],
            [],
            _advance([s["step"] for s in states]),
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )

    def _refuse_non_finite(self) -> None:
        named = [
            (group.get("param_names", [None] * len(group["params"]))[i], p)
            for group in self.param_groups
            for i, p in enumerate(group["params"])
            if p.grad is not None
        ]
        norms = torch._foreach_norm([p.grad for _, p in named], float("inf")) if named else []
        if norms and not torch.stack(norms).isfinite().all():
            name, p = next(entry for entry, norm in zip(named, norms, strict=True) if not norm.isfinite())
            raise FloatingPointError(
                f"the gradient of {name or f'a parameter of shape {tuple(p.shape)}'} is not finite; "
                "nothing was changed. Skip this batch, or lower the learning rate"
            )

    def state_dict(self) -> dict:
        return super().state_dict() | ({"qk_clip": self.qk_clip.state_dict()} if self.qk_clip else {})

    def load_state_dict(self, state_dict: dict) -> None:
        state_dict = dict(state_dict)
        clip = state_dict.pop("qk_clip", None)
        super().load_state_dict(state_dict)
        if clip and self.qk_clip:
            self.qk_clip.load_state_dict(clip)


def _advance(steps: list[Tensor]) -> list[Tensor]:
    torch._foreach_add_(steps, 1)
    return steps

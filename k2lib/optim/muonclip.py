"""MuonClip: Muon for hidden matrices, AdamW for the rest, QK-Clip after the update (Algorithm 1, §2.1).

M ← μM + G;  O = NewtonSchulz(μM + G) · 0.2 · √max(n, m);  W ← W − η(O + λW).  The factor gives Muon's update the root
mean square that AdamW's has, so one learning rate and one weight decay serve both. Same-shaped matrices of the whole
model are orthogonalised in one batched call; a stack [E, n, m] is E matrices, a fused [gate | up] two.

What surprised: an expert that no token chose has a zero gradient but not a zero momentum, and because orthogonalisation
forgets magnitudes it would keep receiving full-sized updates from stale directions for hundreds of steps. An expert
whose gradient is exactly zero is therefore left alone in that step, weight decay included; its momentum fades on.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.optim.adamw import adamw

from k2lib import machine
from k2lib.optim.groups import Rules, places, summary
from k2lib.optim.newton_schulz import newton_schulz
from k2lib.optim.qk_clip import HeadReport, QKClip, all_finite, attention_modules, forget, refuse
from k2lib.optim.rescale import is_sharded
from k2lib.optim.zero import Shares, Whole

RMS = 0.2  # of an update; Moonlight, Table 8: within AdamW's usual 0.2 to 0.4
BATCH = 1 << 26  # numbers orthogonalised in one call, which bounds the working memory to a few times 256 MB


class MuonClip(torch.optim.Optimizer):
    """A `torch.optim.Optimizer`; each group says `algorithm`: "muon" (matrices, the default) or "adamw".

    Moonlight's constants are the defaults. A parameter [E, n, m] of a Muon group is a stack of E matrices; `blocks` of
    a group is the number of equal matrices stacked in the rows of each (2 for a fused gate and up projection).
    Gradients are never modified; a parameter without one is skipped. `for_model` makes the groups and the clip.
    `zero`, the mesh of the data-parallel ranks, has each of them keep its share of the states alone (`k2lib.optim.zero`).
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
        zero: DeviceMesh | None = None,
    ):
        for name, value in (("lr", lr), ("weight_decay", weight_decay), ("eps", eps)):
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} is {value}; give a finite number that is not negative")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum is {momentum}; choose a value in [0, 1), such as 0.95")
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas are {betas}; choose two values in [0, 1), such as (0.9, 0.95)")
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "betas": betas, "eps": eps}
        defaults |= {"ns_steps": ns_steps, "coefficients": coefficients, "algorithm": "muon", "blocks": 1}
        defaults["fused"] = True  # AdamW's steps live, and are loaded, where the parameters are
        self.ns_dtype = ns_dtype  # None: bf16 where the hardware multiplies it fast
        self.shares = Whole() if zero is None else Shares(zero)
        super().__init__(param_groups, defaults)
        self.qk_clip = qk_clip
        if zero is not None and any(is_sharded(p) for group in self.param_groups for p in group["params"]):
            raise ValueError("the parameters are sharded already, and their states with them; leave `zero` out")
        self.attention: dict[str, nn.Module] = {}  # what the clip acts on, by name
        self._summary = "made from groups of your own"

    @classmethod
    def for_model(
        cls,
        model: nn.Module,
        lr: float,
        *,
        tau: float | None = 100.0,
        rules: Rules | None = None,
        qk_clip: QKClip | None = None,
        group: "dist.ProcessGroup | str | None" = "world",
        **settings,
    ) -> "MuonClip":
        """Hidden matrices and stacks of them on Muon; embeddings, head, positions, convolutions, norms and biases on AdamW.

        `rules` overrule that by name, `summary()` tells where everything is. The clip acts on the model's own attention, at
        `tau`; `qk_clip` is one that was made by `QKClip.attach`; tau=None leaves it out: plain Muon. Maxima are shared over
        `group`, all ranks where processes were initialised; None shares nothing, as when ranks hold other layers.
        """
        found, groups = places(model, rules), defaultdict(list)
        for place in found:
            groups[place.algorithm, place.blocks].append((place.name, place.parameter))
        if not groups:
            raise ValueError("no parameter of this model requires a gradient; there is nothing to optimise")
        described = [
            {"params": params, "algorithm": algorithm, "blocks": blocks}
            for (algorithm, blocks), params in groups.items()
        ]
        if tau is not None and qk_clip is None:
            shared = dist.is_available() and dist.is_initialized()
            qk_clip = QKClip(tau, (dist.group.WORLD if shared else None) if group == "world" else group)
        optimizer = cls(described, lr, qk_clip=None if tau is None else qk_clip, **settings)
        optimizer.attention = {} if tau is None else qk_clip.attached or attention_modules(model)
        optimizer._summary = summary(found)
        return optimizer

    def summary(self) -> str:
        """A table of the parameters: name, shape, who optimises it, why. Of an optimizer that `for_model` made."""
        return self._summary

    def add_param_group(self, param_group: dict) -> None:
        """ValueError for an unknown key or algorithm, or a parameter that its algorithm cannot optimise."""
        unknown = set(param_group) - set(self.defaults) - {"params", "param_names", "initial_lr"}
        if unknown:
            known = ", ".join(sorted(self.defaults))
            raise ValueError(f"a group has the unknown key {sorted(unknown)[0]!r}; known are params and {known}")
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        algorithm, blocks = group["algorithm"], group["blocks"]
        if algorithm not in ("muon", "adamw"):
            raise ValueError(f"algorithm {algorithm!r} is unknown; choose 'muon' for matrices or 'adamw' for the rest")
        for name, parameter in _named(group):
            shape = tuple(parameter.shape)
            if parameter.numel() == 0 or not parameter.is_floating_point() or parameter.layout != torch.strided:
                kind = "empty" if parameter.numel() == 0 else f"{parameter.layout}, {parameter.dtype}"
                raise ValueError(f"{name} {shape} is {kind}; only dense real parameters can be optimised, leave it out")
            if algorithm == "muon" and (parameter.ndim not in (2, 3) or parameter.shape[-2] % blocks):
                raise ValueError(
                    f"{name} {shape} is no stack of matrices with rows in {blocks} equal "
                    "blocks; put it into a group with algorithm='adamw', or choose blocks that fit"
                )

    @property
    def clip_report(self) -> dict[str, HeadReport]:
        """Per attention module: the maxima seen, γ, and which heads were ever clipped. Empty for plain Muon."""
        return self.qk_clip.report if self.qk_clip else {}

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Update, then clip.

        FloatingPointError naming the parameter or the attention module, before anything changes, if a gradient or a
        maximum logit is not finite; the caller may skip that batch and go on. The check is the one wait for the device;
        while a CUDA graph is captured it is left out, and the graph repeats the learning rate it was captured with.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        maxima = self.qk_clip.maxima(self.attention) if self.qk_clip else {}
        if not machine.capturing():
            self._refuse_non_finite(maxima)
        for group in self.param_groups:
            if group["algorithm"] == "adamw":
                self._adamw(group)
        self._muon([group for group in self.param_groups if group["algorithm"] == "muon"])
        if self.qk_clip:
            self.qk_clip.clip(self.attention, maxima)
        return loss

    def _muon(self, groups: list[dict]) -> None:
        batches: dict[tuple, list] = defaultdict(list)  # parameters of equal matrices, whatever layer they come from
        for group in groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    n, m = parameter.shape[-2] // group["blocks"], parameter.shape[-1]
                    key = (n, m, group["ns_steps"], group["coefficients"], parameter.dtype, parameter.device)
                    batches[key].append((parameter, group))
        for (n, m, steps, coefficients, *_), entries in batches.items():
            for few in _bounded(entries):
                directions = self._directions(few).view(-1, n, m)
                orthogonal = newton_schulz(directions, steps, coefficients, self.ns_dtype)
                updates = orthogonal.reshape(-1).split([parameter.numel() for parameter, _ in few])
                for (parameter, group), update in zip(few, updates, strict=True):
                    own, gradient = self.shares.rows(parameter), self.shares.rows(parameter.grad)
                    update = self.shares.rows(update.view(parameter.shape))
                    _apply(own, gradient, update, RMS * max(n, m) ** 0.5, group)
                self.shares.spread([parameter for parameter, _ in few])

    def _directions(self, entries: list[tuple[Tensor, dict]]) -> Tensor:
        """M ← μM + G, then μM + G with the new M (Nesterov), of all parameters one after another in one buffer."""
        parameters = [parameter for parameter, _ in entries]
        rooms = list(map(self.shares.room, parameters))
        buffer = parameters[0].new_empty(sum(rooms))
        for (parameter, group), part in zip(entries, buffer.split(rooms), strict=True):
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = self.shares.zeros(parameter)
            gradient = self.shares.rows(parameter.grad)
            momentum = self.shares.local(self.state[parameter]["momentum"])
            direction = part[: gradient.numel()].view(gradient.shape)
            torch.add(gradient, momentum, alpha=group["momentum"], out=momentum)
            torch.add(gradient, momentum, alpha=group["momentum"], out=direction)
        wire = self.ns_dtype or getattr(torch, machine.compute_dtype(buffer.device))
        return self.shares.gather(buffer, parameters, wire)

    def _adamw(self, group: dict) -> None:
        moved = [p for p in group["params"] if p.grad is not None]
        for p in moved:
            if not self.state[p]:
                self.state[p]["step"] = torch.zeros((), device=p.device)
                self.state[p] |= {"exp_avg": self.shares.zeros(p), "exp_avg_sq": self.shares.zeros(p)}
        weights, gradients = ([self.shares.rows(t) for t in few] for few in (moved, [p.grad for p in moved]))
        means, squares = ([self.shares.local(self.state[p][name]) for p in moved] for name in ("exp_avg", "exp_avg_sq"))
        settings = {name: group[name] for name in ("lr", "weight_decay", "eps")}
        settings |= {"beta1": group["betas"][0], "beta2": group["betas"][1], "amsgrad": False, "maximize": False}
        steps = [self.state[p]["step"] for p in moved]
        adamw(weights, gradients, means, squares, [], steps, fused=True, **settings)
        self.shares.spread(moved)

    def _refuse_non_finite(self, maxima: dict[str, Tensor]) -> None:
        named = [entry for group in self.param_groups for entry in _named(group) if entry[1].grad is not None]
        norms = torch._foreach_norm([p.grad for _, p in named]) if named else []
        finite = [all_finite(maxima)] if maxima else []
        if norms:
            gradients = torch.stack([norm.float().to(norms[0].device) for norm in norms]).isfinite().all()
            finite.append(gradients.full_tensor() if is_sharded(gradients) else gradients)
        if (
            not finite or torch.stack([each.to(finite[0].device) for each in finite]).all()
        ):  # the one wait for the device
            return
        for name, parameter in named:  # a norm may also overflow, so now look closely
            if not parameter.grad.isfinite().all():
                forget(self.attention)
                raise FloatingPointError(
                    f"the gradient of {name} is not finite; nothing was changed. Skip this batch, "
                    "or lower the learning rate"
                )
        if maxima and not all_finite(maxima):
            refuse(self.attention, maxima)

    def __getstate__(self) -> dict:
        """For pickle and deepcopy: torch's own would leave out all that is not a group."""
        own = {name: self.__dict__[name] for name in ("ns_dtype", "shares", "qk_clip", "attention", "_summary")}
        return super().__getstate__() | own

    def state_dict(self) -> dict:
        return super().state_dict() | ({"qk_clip": self.qk_clip.state_dict()} if self.qk_clip else {})

    def load_state_dict(self, state_dict: dict) -> None:
        state_dict = dict(state_dict)
        clip = state_dict.pop("qk_clip", None)
        super().load_state_dict(state_dict)
        if clip and self.qk_clip:
            self.qk_clip.load_state_dict(clip)


def _apply(parameter: Tensor, gradient: Tensor, update: Tensor, scale: float, group: dict) -> None:
    """W ← W − η(scale · O + λW), but not for the idle matrices of a stack."""
    rate, decay = group["lr"], group["lr"] * group["weight_decay"]
    if parameter.ndim == 3:
        alive = gradient.flatten(1).any(1).to(parameter.dtype)[:, None, None]
        parameter.mul_(1 - decay * alive).addcmul_(update.to(parameter.dtype), alive, value=-rate * scale)
    else:
        parameter.mul_(1 - decay).add_(update, alpha=-rate * scale)


def _bounded(entries: list[tuple]) -> Iterable[list[tuple]]:
    """The entries (parameter first) in runs of at most BATCH numbers, at least one entry each."""
    run, size = [], 0
    for entry in entries:
        if run and size + entry[0].numel() > BATCH:
            yield run
            run, size = [], 0
        run.append(entry)
        size += entry[0].numel()
    yield run


def _named(group: dict) -> list[tuple[str, Tensor]]:
    """(name, parameter); the shape serves as a name where the caller gave none."""
    names = group.get("param_names") or [f"the parameter of shape {tuple(p.shape)}" for p in group["params"]]
    return list(zip(names, group["params"], strict=True))

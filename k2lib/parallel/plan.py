"""The layout that K2 was trained in, counted: 16-way pipeline × 16-way experts × ZeRO-1, and what one GPU holds (section 2.4).

Two things fill a GPU. Training states: the paper gives about 6 TB of weights and gradients for 256 GPUs and about 30 GB
of all states for each. And activations: of every micro-batch that has gone forward and not yet backward, which is the
pipeline's depth on the first stage.
"""

from dataclasses import dataclass

from k2lib.config import K2Config
from k2lib.memory import Policy, k2_policy
from k2lib.memory.budget import Saved, across_processes, attention_saves, feed_forward_saves, kept_bytes
from k2lib.model.accounting import attention_parameters

SEQUENCE = 4096  # tokens of a micro-batch: one sequence of the paper's length; its number of sequences is not stated


@dataclass(frozen=True)
class Plan:
    pipeline: int = 16
    experts: int = 16
    replicas: int = 1  # of the 256 GPUs; ZeRO-1 shares what only the optimizer needs among all that hold a parameter

    @property
    def gpus(self) -> int:
        return self.pipeline * self.experts * self.replicas


def layers_by_stage(config: K2Config, plan: Plan) -> list[list[int]]:
    """The layers of each pipeline stage, as evenly as possible."""
    stages: list[list[int]] = [[] for _ in range(plan.pipeline)]
    for layer in range(config.num_hidden_layers):
        stages[layer * plan.pipeline // config.num_hidden_layers].append(layer)
    return stages


def parameters_by_part(config: K2Config, plan: Plan) -> dict[str, list[float]]:
    """Parameters on a GPU of each pipeline stage, [stage], by component. ValueError if the experts cannot be shared.

    All but the routed experts is held by every GPU of an expert group; the first stage embeds, the last predicts.
    """
    c = config
    if c.n_routed_experts % plan.experts:
        raise ValueError(f"{c.n_routed_experts} experts cannot be shared by ep={plan.experts} GPUs; choose a divisor")
    expert = 3 * c.hidden_size * c.moe_intermediate_size
    of_layer = {
        "attention": lambda _: attention_parameters(c),
        "norms": lambda _: 2 * c.hidden_size,
        "dense feed-forward": lambda sparse: 0 if sparse else 3 * c.hidden_size * c.intermediate_size,
        "routers": lambda sparse: sparse * c.n_routed_experts * c.hidden_size,
        "shared experts": lambda sparse: sparse * c.n_shared_experts * expert,
        "routed experts": lambda sparse: sparse * c.n_routed_experts / plan.experts * expert,
    }
    stages = layers_by_stage(c, plan)
    parts = {name: [sum(count(c.is_moe(i)) for i in stage) for stage in stages] for name, count in of_layer.items()}
    ends, table = [0] * (plan.pipeline - 1), c.vocab_size * c.hidden_size
    parts["norms"][-1] += c.hidden_size
    return {"embedding": [table, *ends], **parts, "head": [*ends, table]}


def parameters_per_gpu(config: K2Config, plan: Plan) -> list[float]:
    """All parameters on a GPU of each pipeline stage, [stage]."""
    return [sum(stage) for stage in zip(*parameters_by_part(config, plan).values(), strict=True)]


STATES = {"weights, bf16": 2, "gradients, fp32": 4, "master weights, fp32": 4, "momentum, fp32": 4}  # bytes a parameter
OPTIMIZERS = ("master weights, fp32", "momentum, fp32")  # shared out by ZeRO-1; AdamW would have one more


def state_bytes(config: K2Config, plan: Plan) -> dict[str, list[float]]:
    """Bytes of each training state on a GPU of each pipeline stage, [stage].

    ZeRO-1: what only the optimizer needs is held once for all GPUs with the same parameters: the `replicas` of a routed
    expert, those of the whole expert group for all else.
    """
    parts = parameters_by_part(config, plan)
    routed, held = parts["routed experts"], parameters_per_gpu(config, plan)
    once = [(all_ - own) / plan.experts + own for all_, own in zip(held, routed, strict=True)]
    return {
        name: [each * n / plan.replicas for n in once] if name in OPTIMIZERS else [each * n for n in held]
        for name, each in STATES.items()
    }


def activation_bytes(config: K2Config, plan: Plan, policy: Policy, written_out: bool = False) -> tuple[float, float]:
    """(bytes on the device, bytes on the host) of activations on a GPU of the first stage, in bf16.

    One sequence of 4096 tokens a micro-batch, as many in flight as the pipeline has stages (1F1B; virtual stages need
    somewhat more), and experts so well balanced that a GPU receives as many rows as it sends. `written_out`: routed
    experts as a chain of operations in plain autograd (`k2lib.memory.budget.across_processes`).
    """
    saved: list[Saved] = []
    for layer in layers_by_stage(config, plan)[0]:
        saved += [Saved("residual", config.hidden_size, 2)] * 2 + attention_saves(config, 2)
        saved += feed_forward_saves(config, layer, 2, rows=config.num_experts_per_tok)
        saved += across_processes(config, 2, written_out) if config.is_moe(layer) else []
    device, host = kept_bytes(saved, SEQUENCE, policy)
    return plan.pipeline * sum(device.values()), plan.pipeline * host


def waterfall(config: K2Config, plan: Plan) -> dict[str, tuple[float, float]]:
    """`activation_bytes` from "keep everything" to the paper's policy, one measure after another in the paper's order."""
    steps = {"keep everything": Policy()}
    done: tuple[str, ...] = ()
    for part in ("norm", "copy", "swiglu", "up-projection", "down-projection"):
        done += (part,)
        steps[f"recompute {part}"] = Policy(done)
    steps |= {"FP8": k2_policy(offload=False), "offload the rest": k2_policy()}
    return {name: activation_bytes(config, plan, policy, written_out=True) for name, policy in steps.items()}

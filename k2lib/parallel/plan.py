"""The layout that K2 was trained in, counted: 16-way pipeline × 16-way experts, and what one of 256 GPUs holds (section 2.4)."""

from dataclasses import dataclass

from k2lib.config import K2Config
from k2lib.model.accounting import attention_parameters


@dataclass(frozen=True)
class Plan:
    pipeline: int = 16
    experts: int = 16

    @property
    def gpus(self) -> int:
        return self.pipeline * self.experts


def parameters_per_gpu(config: K2Config, plan: Plan) -> list[float]:
    """Parameters on a GPU of each pipeline stage: its layers' attention, norms, routers and shared experts, replicated over the
    expert group, plus its share of the routed experts; the first stage embeds, the last predicts."""
    c = config
    if c.n_routed_experts % plan.experts:
        raise ValueError(f"{c.n_routed_experts} experts cannot be shared by ep={plan.experts} GPUs; choose a divisor")
    expert = 3 * c.hidden_size * c.moe_intermediate_size
    common = attention_parameters(c) + 2 * c.hidden_size
    sparse = common + c.n_routed_experts * c.hidden_size + c.n_shared_experts * expert
    sparse += c.n_routed_experts / plan.experts * expert
    dense = common + 3 * c.hidden_size * c.intermediate_size
    stages = [0.0] * plan.pipeline
    for layer in range(c.num_hidden_layers):
        stages[layer * plan.pipeline // c.num_hidden_layers] += sparse if c.is_moe(layer) else dense
    stages[0] += c.vocab_size * c.hidden_size
    stages[-1] += c.vocab_size * c.hidden_size + c.hidden_size
    return stages


STATES = {"weights, bf16": 2, "gradients, fp32": 4, "master weights, fp32": 4, "momentum, fp32": 4}  # bytes a parameter


def state_bytes(config: K2Config, plan: Plan) -> dict[str, list[float]]:
    """Bytes of each training state on a GPU of each pipeline stage, [stage].

    Muon keeps one momentum where AdamW keeps two. The paper states weights and gradients together as about 6 TB over 256
    GPUs, and about 30 GB for all states on a GPU: master weights and momentum are shared out over the data-parallel ranks,
    or lie on the host.
    """
    held = parameters_per_gpu(config, plan)
    return {name: [each * parameters for parameters in held] for name, each in STATES.items()}

"""The layout that K2 was trained in, counted: 16-way pipeline × 16-way experts, and what one of 256 GPUs holds (section 2.4)."""

from dataclasses import dataclass

from k2lib.config import K2Config
from k2lib.model.accounting import attention_parameters, count_parameters


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


def state_bytes(config: K2Config, gpus: int) -> dict[str, float]:
    """Bytes per GPU of training states spread over `gpus`: bf16 weights, fp32 gradient buffer, fp32 master and momentum.

    Muon keeps one momentum where AdamW keeps two. The paper states the first two together as about 6 TB, and about 30 GB
    for all states on a GPU; master weights and momentum beyond that lie in the data-parallel shards or on the host.
    """
    if gpus < 1:
        raise ValueError(f"gpus is {gpus}; give at least one")
    total = count_parameters(config).total
    each = {"weights, bf16": 2, "gradients, fp32": 4, "master weights, fp32": 4, "momentum, fp32": 4}
    return {name: bytes_ * total / gpus for name, bytes_ in each.items()}

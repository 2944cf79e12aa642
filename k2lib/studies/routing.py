"""How wide is a token inside a block, where is it routed, and does the selection bias balance the load? (section 2.3)"""

import statistics
from collections.abc import Iterator

import torch
from torch import Tensor

from k2lib import machine
from k2lib.config import K2Config
from k2lib.corpus.packing import PackedDataset
from k2lib.model import K2Model
from k2lib.model.moe import Router, max_violation, routers
from k2lib.optim import MuonClip
from k2lib.profiles import Profile, RoutingSize
from k2lib.progress import Progress
from k2lib.studies.study import Study
from k2lib.train import Batch, StepRecord, train

WARMUP = 10  # steps
TAIL = 10  # the last one of so many parts of a run is judged


def measure(
    config: K2Config, dataset: PackedDataset, profile: Profile, seed: int, progress: Progress
) -> dict[str, list[float]]:
    """Of one seed {arm: load violation of the worst layer in each step}; both arms see the same batches."""
    arms, size = {"no balancing": 0.0, "selection bias": profile.routing.bias_rate}, profile.routing
    runs = {arm: trained(config, dataset, size, rate, seed, progress)[1] for arm, rate in arms.items()}
    return {arm: [record.violation for record in records] for arm, records in runs.items()}


def trained(
    config: K2Config, dataset: PackedDataset, size: RoutingSize, bias_rate: float, seed: int, progress: Progress
) -> tuple[K2Model, list[StepRecord]]:
    """A short training whose routers' biases move by `bias_rate` a step; the seed fixes weights and data."""

    def batches(start: int) -> Iterator[Batch]:
        return map(Batch.from_sequences, dataset.batches(size.batch_size, size.seq_len, seed, start_step=start))

    def lr_at(step: int) -> float:
        return size.lr * min(1.0, (step + 1) / WARMUP)

    torch.manual_seed(seed)
    model = K2Model(config).to(machine.device())
    settings = {"steps": size.steps, "lr_at": lr_at, "bias_rate": bias_rate, "progress": progress}
    settings["description"] = f"bias rate {bias_rate:g}, seed {seed}"
    return model, train(model, MuonClip.for_model(model, lr=size.lr), batches, **settings)


def values(profile: Profile, results: list[dict]) -> dict[str, list[float]]:
    """One number a seed for each claim."""
    tail = max(1, profile.routing.steps // TAIL)
    last = [{arm: statistics.mean(steps[-tail:]) for arm, steps in run.items()} for run in results]
    return {"selection-bias-balances": [run["selection bias"] / run["no balancing"] for run in last]}


def stations(config: K2Config) -> list[tuple[str, int]]:
    """(station, how many numbers stand for one token there) along a sparse block, in order."""
    c = config
    heads, experts = c.num_attention_heads, c.num_experts_per_tok + c.n_shared_experts
    squeezed = [] if c.q_lora_rank is None else [("query latent", c.q_lora_rank)]
    return [
        ("residual", c.hidden_size),
        *squeezed,
        ("queries", heads * c.qk_head_dim),
        ("cached", c.kv_lora_rank + c.qk_rope_head_dim),
        ("keys", heads * c.qk_head_dim),
        ("values", heads * c.v_head_dim),
        ("residual", c.hidden_size),
        ("scores", c.n_routed_experts),
        ("in experts", experts * c.moe_intermediate_size),
        ("residual", c.hidden_size),
    ]


@torch.no_grad()
def expert_shares(model, tokens: Tensor) -> Tensor:
    """[sparse layers, E] share of the choices that fell on each expert, over tokens [B, T]; 1/E is even."""
    chosen = []

    def note(_router, _inputs, output: tuple[Tensor, Tensor]) -> None:
        chosen.append(output[1])

    hooks = [router.register_forward_hook(note) for router in routers(model)]
    try:
        model.hidden(tokens.to(model.embed_tokens.weight.device))
    finally:
        for hook in hooks:
            hook.remove()
    counts = torch.stack([torch.bincount(c.flatten(), minlength=model.config.n_routed_experts) for c in chosen])
    return (counts / counts.sum(1, keepdim=True)).to(machine.HOST)


def specialisation(shares: Tensor) -> float:
    """Of choices [kinds, E], each row summing to one: the share by which two kinds of text differ, mean over all pairs.

    It is the total variation distance: 0 if every kind goes to the same experts, 1 if no two kinds share any.
    """
    apart = (shares[:, None] - shares[None]).abs().sum(-1) / 2
    kinds = len(shares)
    return apart.sum().item() / (kinds * (kinds - 1))


def balancing(
    config: K2Config, steps: int, seed: int, tokens: int = 2048, rate: float = 1e-2
) -> dict[str, list[float]]:
    """Load violation per step of one frozen, skewed router on random inputs, with and without the bias update."""
    runs, where = {}, machine.device()
    for name, update in (("no balancing", 0.0), ("selection bias", rate)):
        generator = torch.Generator().manual_seed(seed)
        router = Router(config).train()
        with torch.no_grad():
            router.weight.normal_(std=0.3 / config.hidden_size**0.5, generator=generator)
            skew = torch.randn(config.hidden_size, generator=generator) / config.hidden_size**0.5
        router = router.to(where)
        runs[name] = []
        for _ in range(steps):
            x = torch.randn(tokens, config.hidden_size, generator=generator) + 4 * skew
            router(x.to(where))
            runs[name].append(max_violation(router.load))
            router.update_bias(update)
    return runs


STUDY = Study("02_moe_architecture", "routing", measure, values)

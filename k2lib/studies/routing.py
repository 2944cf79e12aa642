"""How wide is a token inside a block, where is it routed, and does the selection bias balance the load? (section 2.3)"""

import torch
from torch import Tensor

from k2lib import machine
from k2lib.config import K2Config
from k2lib.model.moe import Router, max_violation, routers


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

"""Small experiments on the architecture for notebook 02."""

import torch

from k2lib.config import K2Config
from k2lib.model.moe import Router, max_violation


def balancing(config: K2Config, steps: int, seed: int, tokens: int = 2048, rate: float = 1e-2) -> dict[str, list[float]]:
    """Load violation per step of one frozen, skewed router on random inputs, with and without the bias update."""
    runs = {}
    for name, update in (("no balancing", 0.0), ("selection bias", rate)):
        generator = torch.Generator().manual_seed(seed)
        router = Router(config).train()
        with torch.no_grad():
            router.weight.normal_(std=0.3 / config.hidden_size**0.5, generator=generator)
            skew = torch.randn(config.hidden_size, generator=generator) / config.hidden_size**0.5
        runs[name] = []
        for _ in range(steps):
            x = torch.randn(tokens, config.hidden_size, generator=generator) + 4 * skew
            router(x)
            runs[name].append(max_violation(router.load))
            router.update_bias(update)
    return runs

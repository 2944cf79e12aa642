"""The paper's memory budget rebuilt line by line: what one of 256 GPUs holds (section 2.4.1 and 2.4.3)."""

from k2lib.config import K2Config
from k2lib.model.accounting import count_parameters

GIGA = 1e9


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

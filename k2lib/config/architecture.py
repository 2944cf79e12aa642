"""What a K2 is: the numbers that define the architecture, under the names of the released `config.json`.

Section 2.3 and Table 2 of the paper; the released config fills in what the paper leaves out. One class describes the
laptop's `nano` and the trillion-parameter model, so what is tested on one is the definition of the other. What
surprised: the paper's 1.04T is not what its own released config counts to (see k2lib.model.accounting).
"""

import dataclasses
import json
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from k2lib import machine
from k2lib.config import released
from k2lib.config.checks import LIMITS, check, require
from k2lib.config.presets import PRESETS
from k2lib.config.yarn import YaRN


@dataclass(frozen=True)
class K2Config:
    """The architecture. A field without a default must be given; ValueError says in a sentence what cannot be built."""

    vocab_size: int  # V
    hidden_size: int  # D
    num_hidden_layers: int
    num_attention_heads: int  # H
    q_lora_rank: int | None  # None: the query is not compressed (Moonlight)
    kv_lora_rank: int  # C, the latent that is cached
    qk_nope_head_dim: int
    qk_rope_head_dim: int  # R, the rotary width; on the key's side one vector for all heads
    v_head_dim: int
    intermediate_size: int  # of dense layers
    moe_intermediate_size: int  # F, of one expert
    n_routed_experts: int  # E
    num_experts_per_tok: int  # K
    n_shared_experts: int = 1
    first_k_dense_replace: int = 1  # leading layers without experts
    n_group: int = 1  # K2 does not group experts; DeepSeek-V3 does
    topk_group: int = 1
    routed_scaling_factor: float = 1.0  # `gate_scale(E, K)`
    max_position_embeddings: int = 4096
    rope_theta: float = 50_000.0
    yarn: YaRN | None = None
    rms_norm_eps: float = 1e-6
    initializer_range: float = 0.02  # K2's; of every matrix, whatever its width
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    model_type: str = "deepseek_v3"  # K2's architecture under the name that transformers and servers know

    def __post_init__(self) -> None:
        check(self)

    @property
    def qk_head_dim(self) -> int:
        return self.qk_nope_head_dim + self.qk_rope_head_dim

    @property
    def softmax_scale(self) -> float:
        """1/√d, times YaRN's squared attention factor where the config asks for it."""
        scale = self.qk_head_dim**-0.5
        if self.yarn and self.yarn.mscale_all_dim:
            scale *= (0.1 * self.yarn.mscale_all_dim * math.log(self.yarn.factor) + 1.0) ** 2
        return scale

    def is_moe(self, layer: int) -> bool:
        return layer >= self.first_k_dense_replace

    def replace(self, **changes: Any) -> "K2Config":
        """A copy with the fields changed; the gate scale follows a change of experts unless it is given."""
        unknown = set(changes) - {f.name for f in dataclasses.fields(self)}
        require(not unknown, f"K2Config has no field {', '.join(sorted(unknown))}")
        if {"n_routed_experts", "num_experts_per_tok"} & set(changes) and "routed_scaling_factor" not in changes:
            experts = changes.get("n_routed_experts", self.n_routed_experts)
            active = changes.get("num_experts_per_tok", self.num_experts_per_tok)
            known = type(experts) is int and type(active) is int
            if known and 0 < active <= experts <= LIMITS["n_routed_experts"]:
                changes["routed_scaling_factor"] = gate_scale(experts, active)
        return dataclasses.replace(self, **changes)

    @classmethod
    def preset(cls, name: str) -> "K2Config":
        """One of the models this kit knows by name; ValueError lists them."""
        require(name in PRESETS, f"unknown preset {name!r}; choose one of {', '.join(PRESETS)}")
        given = dict(PRESETS[name])
        given["yarn"] = YaRN(**given["yarn"]) if "yarn" in given else None
        if "routed_scaling_factor" not in given:
            given["routed_scaling_factor"] = gate_scale(given["n_routed_experts"], given["num_experts_per_tok"])
        return cls(**given)

    @classmethod
    def from_dict(cls, config: dict) -> "K2Config":
        """Read a released `config.json` (kimi_k2 or deepseek_v3). ValueError names unknown or contradictory fields."""
        return cls(**released.read(config, [f for f in dataclasses.fields(cls) if f.name != "yarn"]))

    @classmethod
    def from_pretrained(cls, directory: Path | str) -> "K2Config":
        """Read `config.json` of a checkpoint directory."""
        path = Path(directory) / "config.json"
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist; give the directory of a checkpoint with a config.json")
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is not valid JSON ({error}); restore it from the checkpoint's source") from None
        require(isinstance(config, dict), f"{path} holds no JSON object; restore it from the checkpoint's source")
        try:
            return cls.from_dict(config)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def to_dict(self) -> dict:
        """The fields of the released `config.json`."""
        return released.write(dataclasses.asdict(self))


@cache
def gate_scale(experts: int, active: int, samples: int = 20_000) -> float:
    """Factor that restores the routed experts' share of the output after the gates are normalised to sum 1.

    Moonlight, Appendix C: Gaussian logits, sigmoid, the top `active` of `experts`, renormalised; the mean of 1/√Σp².
    (64, 6) gives 2.446 and (384, 8) 2.827, the released values; it approaches √active for many experts.
    """
    logits = torch.randn(samples, experts, generator=torch.Generator().manual_seed(0), device=machine.HOST)
    gates = logits.sigmoid().topk(active, dim=-1).values
    gates = gates / gates.sum(-1, keepdim=True)
    return round(float((1 / gates.square().sum(-1).sqrt()).mean()), 3)

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

# What the class fixes: another value would be another model, so it is refused and not ignored.
_FIXED = {
    "hidden_act": ("silu",),
    "attention_bias": (False,),
    "scoring_func": ("sigmoid",),
    "topk_method": ("noaux_tc",),
    "norm_topk_prob": (True,),
    "tie_word_embeddings": (False,),
    "moe_layer_freq": (1,),
    "mlp_bias": (False,),
    "rope_interleave": (True,),
    "model_type": ("kimi_k2", "deepseek_v3"),
}
# Fields of released configs that say nothing about the architecture, or repeat other fields.
_IGNORED = {
    "architectures",
    "auto_map",
    "torch_dtype",
    "dtype",
    "transformers_version",
    "use_cache",
    "quantization_config",
    "attention_dropout",
    "pretraining_tp",
    "ep_size",
    "aux_loss_alpha",
    "seq_aux",
    "num_nextn_predict_layers",
    "num_mtp_layers",
    "head_dim",
    "qk_head_dim",
    "num_key_value_heads",
    "num_local_experts",
    "pad_token_id",
    "rope_parameters",
    "rope_scaling",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "router_aux_loss_coef",
    "return_dict",
    "is_decoder",
    "is_encoder_decoder",
    "chunk_size_feed_forward",
    "id2label",
    "label2id",
    "problem_type",
    "_name_or_path",
    "name_or_path",
}


@dataclass(frozen=True)
class YaRN:
    """Context extension by slowing the slow rotary pairs (section 2.5: 4k and 32k in training, 128k by YaRN)."""

    factor: float
    original_max_position_embeddings: int
    beta_fast: float = 32.0  # turns over the original context from which a pair is left alone …
    beta_slow: float = 1.0  # … and below which it is slowed by the whole factor
    mscale: float = 1.0
    mscale_all_dim: float = 0.0

    def __post_init__(self) -> None:
        _require(self.factor >= 1, f"YaRN's factor is {self.factor}; a context can only be extended, so give 1 or more")
        _require(
            self.original_max_position_embeddings > 0,
            "YaRN's original_max_position_embeddings is "
            f"{self.original_max_position_embeddings}; give the length that the model was trained on",
        )


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
        may_be_zero = ("n_shared_experts", "first_k_dense_replace")
        for field in dataclasses.fields(self):
            value, least = getattr(self, field.name), 0 if field.name in may_be_zero else 1
            if field.type is int:
                _require(
                    type(value) is int and value >= least,
                    f"{field.name} is {value!r}; give an integer of at least {least}",
                )
            if field.type is float:
                _require(
                    isinstance(value, int | float) and value > 0, f"{field.name} is {value!r}; give a number above 0"
                )
        experts, active = self.n_routed_experts, self.num_experts_per_tok
        _require(
            self.q_lora_rank is None or self.q_lora_rank > 0,
            f"q_lora_rank is {self.q_lora_rank}; give a rank of at least 1, or null for an uncompressed query",
        )
        _require(
            self.qk_rope_head_dim % 2 == 0,
            f"qk_rope_head_dim is {self.qk_rope_head_dim}; rotary positions turn "
            "pairs of numbers, so give an even width",
        )
        for name in ("hidden_size", "moe_intermediate_size"):
            _require(
                getattr(self, name) % 8 == 0,
                f"{name} is {getattr(self, name)}; the experts' grouped products "
                "need a multiple of 8 (rows of whole 16 bytes)",
            )
        _require(
            active <= experts,
            f"num_experts_per_tok is {active} but n_routed_experts is {experts}; a token "
            "cannot use more experts than there are",
        )
        _require(
            experts % self.n_group == 0,
            f"n_routed_experts {experts} is not divisible by n_group "
            f"{self.n_group}; choose n_group from {_divisors(experts)}",
        )
        _require(
            self.n_group == 1 or experts // self.n_group >= 2,
            f"n_group {self.n_group} leaves one expert a "
            "group; a group is judged by its best two, so choose a smaller n_group",
        )
        _require(self.topk_group <= self.n_group, f"topk_group {self.topk_group} exceeds n_group {self.n_group}")
        reachable = experts // self.n_group * self.topk_group
        _require(
            active <= reachable,
            f"num_experts_per_tok {active} exceeds the {reachable} experts in topk_group = "
            f"{self.topk_group} groups; raise topk_group",
        )
        _require(
            self.first_k_dense_replace <= self.num_hidden_layers,
            f"first_k_dense_replace is {self.first_k_dense_replace} but there are {self.num_hidden_layers} layers",
        )
        _require(
            self.model_type in _FIXED["model_type"],
            f"model_type is {self.model_type!r}; this class describes {' and '.join(_FIXED['model_type'])}",
        )

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
        _require(not unknown, f"K2Config has no field {', '.join(sorted(unknown))}")
        if {"n_routed_experts", "num_experts_per_tok"} & set(changes) and "routed_scaling_factor" not in changes:
            experts = changes.get("n_routed_experts", self.n_routed_experts)
            active = changes.get("num_experts_per_tok", self.num_experts_per_tok)
            if isinstance(experts, int) and isinstance(active, int) and 0 < active <= experts:
                changes["routed_scaling_factor"] = gate_scale(experts, active)
        return dataclasses.replace(self, **changes)

    @classmethod
    def preset(cls, name: str) -> "K2Config":
        """One of the models this kit knows by name; ValueError lists them."""
        _require(name in _PRESETS, f"unknown preset {name!r}; choose one of {', '.join(_PRESETS)}")
        return _PRESETS[name]()

    @classmethod
    def from_dict(cls, config: dict) -> "K2Config":
        """Read a released `config.json` (kimi_k2 or deepseek_v3). ValueError names unknown or contradictory fields."""
        fields = [f for f in dataclasses.fields(cls) if f.name != "yarn"]
        known = {f.name for f in fields}
        unknown = sorted(set(config) - known - _IGNORED - set(_FIXED))
        _require(
            not unknown, f"unknown config field {', '.join(unknown)}; remove it, or check that this is a K2 config"
        )
        for name, allowed in _FIXED.items():
            value = config.get(name, allowed[0])
            _require(value in allowed, f"{name} is {value!r}; this model supports {' or '.join(map(repr, allowed))}")
        missing = sorted(f.name for f in fields if f.default is dataclasses.MISSING and f.name not in config)
        _require(not missing, f"the config lacks {', '.join(missing)}")
        heads, kv_heads = config["num_attention_heads"], config.get("num_key_value_heads")
        _require(
            kv_heads in (None, heads),
            f"num_key_value_heads is {kv_heads} but num_attention_heads is {heads}; "
            "latent attention has one key for every query head",
        )
        given = {name: value for name, value in config.items() if name in known}
        rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
        theta = rope.get("rope_theta", given.get("rope_theta"))
        _require(
            given.get("rope_theta") in (None, theta),
            f"rope_theta is {given.get('rope_theta')} but rope_parameters say {theta}; keep one of them",
        )
        if theta is not None:
            given["rope_theta"] = theta
        if isinstance(given.get("eos_token_id"), list):  # several end tokens: the first ends a text
            given["eos_token_id"] = given["eos_token_id"][0]
        return cls(**given, yarn=_read_yarn(rope))

    @classmethod
    def from_pretrained(cls, directory: Path | str) -> "K2Config":
        """Read `config.json` of a checkpoint directory."""
        path = Path(directory) / "config.json"
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist; give the directory of a checkpoint with a config.json")
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is not valid JSON ({error}); restore it from the checkpoint's source") from None
        _require(isinstance(config, dict), f"{path} holds no JSON object; restore it from the checkpoint's source")
        try:
            return cls.from_dict(config)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def to_dict(self) -> dict:
        """The fields of the released `config.json`. transformers knows no kimi_k2: it needs model_type deepseek_v3."""
        config = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "yarn"}
        fixed = {name: allowed[0] for name, allowed in _FIXED.items() if name != "model_type"}
        scaling = {"type": "yarn", **dataclasses.asdict(self.yarn)} if self.yarn else None
        return {
            "architectures": ["DeepseekV3ForCausalLM"],
            **config,
            **fixed,
            "rope_scaling": scaling,
            "num_key_value_heads": self.num_attention_heads,
            "num_nextn_predict_layers": 0,
        }


def _read_yarn(rope: dict) -> YaRN | None:
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind == "default":
        return None
    _require(kind == "yarn", f"rope scaling of type {kind!r} is not supported; K2 uses 'yarn'")
    names = {f.name for f in dataclasses.fields(YaRN)}
    unknown = sorted(set(rope) - names - {"type", "rope_type", "rope_theta", "attention_factor", "truncate"})
    _require(not unknown, f"unknown YaRN field {', '.join(unknown)} in rope_scaling")
    _require(
        rope.get("attention_factor") is None and rope.get("truncate", True),
        "YaRN with an attention_factor of its own, or with truncate false, is not supported; remove the field",
    )
    missing = sorted({"factor", "original_max_position_embeddings"} - set(rope))
    _require(not missing, f"rope_scaling lacks {', '.join(missing)}")
    return YaRN(**{name: value for name, value in rope.items() if name in names and value is not None})


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


def _kimi_k2() -> K2Config:
    return K2Config(
        vocab_size=163_840,
        hidden_size=7168,
        num_hidden_layers=61,
        num_attention_heads=64,
        q_lora_rank=1536,
        kv_lora_rank=512,
        qk_nope_head_dim=128,
        qk_rope_head_dim=64,
        v_head_dim=128,
        intermediate_size=18_432,
        moe_intermediate_size=2048,
        n_routed_experts=384,
        num_experts_per_tok=8,
        routed_scaling_factor=2.827,
        max_position_embeddings=131_072,
        bos_token_id=163_584,
        eos_token_id=163_585,
        model_type="kimi_k2",
        yarn=YaRN(factor=32.0, original_max_position_embeddings=4096, beta_fast=1.0, beta_slow=1.0, mscale_all_dim=1.0),
    )


def _deepseek_v3() -> K2Config:
    return K2Config(
        vocab_size=129_280,
        hidden_size=7168,
        num_hidden_layers=61,
        num_attention_heads=128,
        q_lora_rank=1536,
        kv_lora_rank=512,
        qk_nope_head_dim=128,
        qk_rope_head_dim=64,
        v_head_dim=128,
        intermediate_size=18_432,
        moe_intermediate_size=2048,
        n_routed_experts=256,
        num_experts_per_tok=8,
        first_k_dense_replace=3,
        n_group=8,
        topk_group=4,
        routed_scaling_factor=2.5,
        max_position_embeddings=163_840,
        rope_theta=10_000.0,
        bos_token_id=0,
        eos_token_id=1,
        yarn=YaRN(factor=40.0, original_max_position_embeddings=4096, mscale_all_dim=1.0),
    )


def _moonlight() -> K2Config:
    return K2Config(
        vocab_size=163_840,
        hidden_size=2048,
        num_hidden_layers=27,
        num_attention_heads=16,
        q_lora_rank=None,
        kv_lora_rank=512,
        qk_nope_head_dim=128,
        qk_rope_head_dim=64,
        v_head_dim=128,
        intermediate_size=11_264,
        moe_intermediate_size=1408,
        n_routed_experts=64,
        num_experts_per_tok=6,
        n_shared_experts=2,
        routed_scaling_factor=2.446,
        max_position_embeddings=8192,
        bos_token_id=163_584,
        eos_token_id=163_585,
        rms_norm_eps=1e-5,
    )


def _small() -> K2Config:
    """About 100M parameters: for one GPU."""
    return K2Config(
        vocab_size=32_768,
        hidden_size=512,
        num_hidden_layers=10,
        num_attention_heads=8,
        q_lora_rank=256,
        kv_lora_rank=128,
        qk_nope_head_dim=64,
        qk_rope_head_dim=32,
        v_head_dim=64,
        intermediate_size=1536,
        moe_intermediate_size=192,
        n_routed_experts=24,
        num_experts_per_tok=4,
        routed_scaling_factor=gate_scale(24, 4),
        max_position_embeddings=4096,
    )


def _nano() -> K2Config:
    """The laptop model: every part of K2 in eight million parameters."""
    return K2Config(
        vocab_size=4096,
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        q_lora_rank=128,
        kv_lora_rank=64,
        qk_nope_head_dim=32,
        qk_rope_head_dim=16,
        v_head_dim=32,
        intermediate_size=512,
        moe_intermediate_size=128,
        n_routed_experts=16,
        num_experts_per_tok=4,
        routed_scaling_factor=gate_scale(16, 4),
        max_position_embeddings=2048,
        rope_theta=10_000.0,
    )


_PRESETS = {"nano": _nano, "small": _small, "moonlight": _moonlight, "deepseek-v3": _deepseek_v3, "kimi-k2": _kimi_k2}


def _divisors(n: int) -> str:
    return ", ".join(str(d) for d in range(1, n + 1) if n % d == 0)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)

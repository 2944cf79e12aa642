"""The released `config.json`: its fields to ours and back."""

import dataclasses

from k2lib.config.checks import MODEL_TYPES, require
from k2lib.config.yarn import YaRN

# What the class fixes: another value would be another model, so it is refused and not ignored.
FIXED = {
    "hidden_act": "silu",
    "attention_bias": False,
    "scoring_func": "sigmoid",
    "topk_method": "noaux_tc",
    "norm_topk_prob": True,
    "tie_word_embeddings": False,
    "moe_layer_freq": 1,
    "mlp_bias": False,
    "rope_interleave": True,
}
# Fields that say nothing about the architecture, or repeat other fields.
IGNORED = set(
    (
        "architectures auto_map torch_dtype dtype transformers_version use_cache quantization_config attention_dropout "
        "pretraining_tp ep_size aux_loss_alpha seq_aux num_nextn_predict_layers num_mtp_layers head_dim qk_head_dim "
        "num_key_value_heads num_local_experts pad_token_id rope_parameters rope_scaling output_attentions "
        "output_hidden_states output_router_logits router_aux_loss_coef return_dict is_decoder is_encoder_decoder "
        "chunk_size_feed_forward id2label label2id problem_type _name_or_path name_or_path"
    ).split()
)


def read(config: dict, fields: list[dataclasses.Field]) -> dict:
    """The values of `fields` that a config.json gives. ValueError names unknown, missing or contradictory ones."""
    known = {field.name for field in fields}
    unknown = sorted(set(config) - known - IGNORED - set(FIXED))
    say = "remove it, or check that this is a K2 config"
    require(not unknown, f"unknown config field {', '.join(unknown)}; {say}")
    allowed = {name: (value,) for name, value in FIXED.items()} | {"model_type": MODEL_TYPES}
    for name, values in allowed.items():
        value = config.get(name, values[0])
        require(value in values, f"{name} is {value!r}; this model supports {' or '.join(map(repr, values))}")
    missing = sorted(f.name for f in fields if f.default is dataclasses.MISSING and f.name not in config)
    require(not missing, f"the config lacks {', '.join(missing)}")
    heads, kv_heads = config["num_attention_heads"], config.get("num_key_value_heads")
    say = f"num_attention_heads is {heads}; latent attention has one key for every query head"
    require(kv_heads in (None, heads), f"num_key_value_heads is {kv_heads} but {say}")
    given = {name: value for name, value in config.items() if name in known}
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    yarn = YaRN.read(rope)
    own, theta = given.get("rope_theta"), rope.get("rope_theta", given.get("rope_theta"))
    require(own in (None, theta), f"rope_theta is {own} but rope_parameters say {theta}; keep one of them")
    if theta is not None:
        given["rope_theta"] = theta
    if isinstance(given.get("eos_token_id"), list):  # several end tokens: the first ends a text
        require(len(given["eos_token_id"]) > 0, "eos_token_id is an empty list; give an id, or null")
        given["eos_token_id"] = given["eos_token_id"][0]
    return given | {"yarn": yarn}


def write(fields: dict) -> dict:
    """The config.json of a config's `fields`. transformers knows no kimi_k2: it needs model_type deepseek_v3."""
    yarn, heads = fields["yarn"], fields["num_attention_heads"]
    return {
        "architectures": ["DeepseekV3ForCausalLM"],
        **{name: value for name, value in fields.items() if name != "yarn"},
        **FIXED,
        "rope_scaling": None if yarn is None else {"type": "yarn", **yarn},
        "num_key_value_heads": heads,
        "num_nextn_predict_layers": 0,
    }

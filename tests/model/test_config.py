"""K2Config: reads what was released, refuses in one sentence what cannot be built."""

import json
import math

import pytest

from k2lib.config import K2Config, YaRN, gate_scale

NANO = K2Config.preset("nano")
RELEASED = {  # K2-Instruct's published values
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "kimi_k2",
    "vocab_size": 163840,
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "num_hidden_layers": 61,
    "num_attention_heads": 64,
    "num_key_value_heads": 64,
    "n_shared_experts": 1,
    "n_routed_experts": 384,
    "routed_scaling_factor": 2.827,
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "qk_nope_head_dim": 128,
    "topk_method": "noaux_tc",
    "n_group": 1,
    "topk_group": 1,
    "num_experts_per_tok": 8,
    "moe_layer_freq": 1,
    "first_k_dense_replace": 1,
    "norm_topk_prob": True,
    "scoring_func": "sigmoid",
    "aux_loss_alpha": 0.001,
    "seq_aux": True,
    "hidden_act": "silu",
    "max_position_embeddings": 131072,
    "initializer_range": 0.02,
    "rms_norm_eps": 1e-6,
    "rope_theta": 50000.0,
    "attention_bias": False,
    "tie_word_embeddings": False,
    "num_nextn_predict_layers": 0,
    "bos_token_id": 163584,
    "eos_token_id": 163585,
    "use_cache": True,
    "rope_scaling": {
        "type": "yarn",
        "factor": 32.0,
        "beta_fast": 1.0,
        "beta_slow": 1.0,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        "original_max_position_embeddings": 4096,
    },
}


def test_the_released_config_is_the_preset():
    assert K2Config.from_dict(RELEASED) == K2Config.preset("kimi-k2")


def test_the_later_release_differs_in_its_context_only():
    later = RELEASED | {"max_position_embeddings": 262144, "rope_scaling": RELEASED["rope_scaling"] | {"factor": 64.0}}
    config = K2Config.from_dict(later)
    assert (config.yarn.factor, config.max_position_embeddings) == (64.0, 262144)
    assert config.replace(yarn=K2Config.preset("kimi-k2").yarn, max_position_embeddings=131072) == K2Config.preset(
        "kimi-k2"
    )


@pytest.mark.parametrize("name", ["nano", "small", "moonlight", "deepseek-v3", "kimi-k2"])
def test_a_config_survives_its_json(name):
    config = K2Config.preset(name)
    assert K2Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("yarn", [None, YaRN(8.0, 64, 1.0, 1.0, 1.0, 1.0)])
def test_a_config_that_transformers_wrote_is_read(yarn):
    from transformers import DeepseekV3Config

    config = NANO.replace(yarn=yarn, max_position_embeddings=512)
    fields = {k: v for k, v in config.to_dict().items() if k not in ("architectures", "model_type")}
    assert K2Config.from_dict(DeepseekV3Config(**fields).to_dict()) == config


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"n_group": 3}, "16 is not divisible by n_group 3; choose n_group from 1, 2, 4, 8, 16"),
        ({"n_group": 16}, "n_group 16 leaves one expert a group"),
        ({"topk_group": 2}, "topk_group 2 exceeds n_group 1"),
        ({"n_group": 8, "topk_group": 1}, "num_experts_per_tok 4 exceeds the 2 experts in topk_group = 1"),
        ({"qk_rope_head_dim": 15}, "qk_rope_head_dim is 15; rotary positions turn pairs"),
        ({"num_experts_per_tok": 17}, "num_experts_per_tok is 17 but n_routed_experts is 16"),
        ({"num_attention_heads": 0}, "num_attention_heads is 0; give an integer from 1 to 1048576"),
        ({"hidden_size": "256"}, "hidden_size is '256'; give an integer"),
        ({"hidden_size": 100}, "hidden_size is 100; the experts' grouped products need a multiple of 8"),
        ({"q_lora_rank": 0}, "q_lora_rank is 0; give an integer from 1 to 1048576 or null"),
        ({"first_k_dense_replace": 9}, "first_k_dense_replace is 9 but there are 4 layers"),
        ({"n_shared_experts": -1}, "n_shared_experts is -1; give an integer from 0 to"),
        ({"rms_norm_eps": 0.0}, "rms_norm_eps is 0.0; give a finite number above 0"),
        ({"rope_theta": math.inf}, "rope_theta is inf; give a finite number"),
        ({"routed_scaling_factor": math.nan}, "routed_scaling_factor is nan; give a finite number"),
        ({"rms_norm_eps": True}, "rms_norm_eps is True; give a finite number"),
        ({"vocab_size": True}, "vocab_size is True; give an integer"),
        ({"q_lora_rank": "24"}, "q_lora_rank is '24'; give an integer"),
        ({"num_hidden_layers": 10**5}, "num_hidden_layers is 100000; give an integer from 1 to 1024"),
        ({"n_routed_experts": 10**9}, "n_routed_experts is 1000000000; give an integer from 1 to 16384"),
        ({"n_routed_experts": 10**9, "n_group": 7}, "n_routed_experts is 1000000000"),
        ({"hidden_size": 2**60}, "hidden_size is 1152921504606846976; give an integer from 1 to 1048576"),
        ({"eos_token_id": -1}, "eos_token_id is -1; give an integer from 0 to"),
        ({"model_type": "llama"}, "model_type is 'llama'; this class describes kimi_k2 and deepseek_v3"),
        ({"widht": 3}, "K2Config has no field widht"),
    ],
)
def test_what_cannot_be_built_is_refused_in_a_sentence(change, sentence):
    with pytest.raises(ValueError) as error:
        NANO.replace(**change)
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model_type": "qwen3_moe"}, "model_type is 'qwen3_moe'; this model supports 'kimi_k2' or 'deepseek_v3'"),
        ({"scoring_func": "softmax"}, "scoring_func is 'softmax'; this model supports 'sigmoid'"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings is True"),
        ({"rope_interleave": False}, "rope_interleave is False"),
        ({"num_key_value_heads": 8}, "num_key_value_heads is 8 but num_attention_heads is 64"),
        ({"sliding_window": 128}, "unknown config field sliding_window"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope scaling of type 'linear' is not supported"),
        ({"rope_scaling": {"type": "yarn", "factor": 2.0}}, "rope_scaling lacks original_max_position_embeddings"),
        ({"rope_scaling": RELEASED["rope_scaling"] | {"factor": 0.5}}, "YaRN's factor is 0.5"),
        ({"rope_scaling": "yarn"}, "rope_scaling is 'yarn'; give an object with its type and factor, or null"),
        ({"rope_scaling": RELEASED["rope_scaling"] | {"factor": math.inf}}, "YaRN's factor is inf; a context"),
        ({"rope_scaling": RELEASED["rope_scaling"] | {"factor": "32"}}, "YaRN's factor is '32'"),
        ({"rope_scaling": RELEASED["rope_scaling"] | {"beta_fast": 0}}, "YaRN's beta_fast is 0; give a finite"),
        ({"rope_scaling": RELEASED["rope_scaling"] | {"beta_slow": 2}}, "beta_fast is 1.0, below beta_slow, 2"),
        ({"rope_scaling": RELEASED["rope_scaling"] | {"mscale": -1}}, "YaRN's mscale is -1"),
        ({"rope_scaling": RELEASED["rope_scaling"] | {"mscale_all_dim": 1e308}}, "YaRN's mscale_all_dim is 1e+308"),
        ({"rope_theta": None}, "rope_theta is None; give a finite number"),
        ({"eos_token_id": []}, "eos_token_id is an empty list"),
        ({"eos_token_id": ["x"]}, "eos_token_id is 'x'; give an integer"),
        ({"rope_scaling": RELEASED["rope_scaling"] | {"attention_factor": 2.0}}, "YaRN with an attention_factor"),
        (
            {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}},
            "rope_theta is 50000.0 but rope_parameters say",
        ),
    ],
)
def test_a_config_of_another_architecture_is_refused(change, sentence):
    with pytest.raises(ValueError, match=r"^[^\n]+$") as error:
        K2Config.from_dict(RELEASED | change)
    assert sentence in str(error.value)


def test_a_config_that_lacks_a_width_says_which():
    with pytest.raises(ValueError, match="the config lacks kv_lora_rank, v_head_dim"):
        K2Config.from_dict({k: v for k, v in RELEASED.items() if k not in ("v_head_dim", "kv_lora_rank")})


def test_an_unknown_preset_names_the_known_ones():
    with pytest.raises(ValueError, match="unknown preset 'k3'; choose one of nano, small, moonlight"):
        K2Config.preset("k3")


def test_a_broken_config_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json does not exist"):
        K2Config.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"vocab_size": 16')
    with pytest.raises(ValueError, match=r"config\.json is not valid JSON"):
        K2Config.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"a": ' + "[" * 100_000)
    with pytest.raises(ValueError, match=r"config\.json is not valid JSON"):
        K2Config.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ValueError, match=r"config\.json holds no JSON object"):
        K2Config.from_pretrained(tmp_path)


@pytest.mark.parametrize(("experts", "active", "released"), [(64, 6, 2.446), (256, 8, 2.827), (384, 8, 2.827)])
def test_moonlights_recipe_gives_the_released_gate_scales(experts, active, released):
    assert gate_scale(experts, active) == pytest.approx(released, abs=0.003)


def test_the_gate_scale_follows_a_change_of_experts_unless_given():
    assert NANO.replace(n_routed_experts=64).routed_scaling_factor == gate_scale(64, 4)
    assert NANO.replace(n_routed_experts=64, routed_scaling_factor=2.5).routed_scaling_factor == 2.5

"""Checkpoints: the released layout, both ways with transformers; damage is named and nothing good is overwritten."""

import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from k2lib import K2Model
from k2lib.model import hf, parity

TINY = parity.cases()["K2"]
SINGLE = "model.safetensors"


@pytest.fixture
def saved(tmp_path):
    """A model and the directory that it was saved in."""
    model = parity.random_model(TINY, 0)
    model.save_pretrained(tmp_path / "model")
    return model, tmp_path / "model"


def rewrite(directory, change) -> None:
    """Write the checkpoint's file again with its tensors changed."""
    tensors = load_file(directory / SINGLE)
    change(tensors)
    save_file(tensors, directory / SINGLE)


def logits(model):
    return model(torch.arange(60).view(2, 30)).detach()


def test_a_checkpoint_has_the_released_names_and_shapes(saved):
    tensors = load_file(saved[1] / SINGLE)
    assert tensors["model.layers.1.mlp.experts.7.up_proj.weight"].shape == (32, 64)
    assert tensors["model.layers.1.mlp.experts.0.down_proj.weight"].shape == (64, 32)
    assert tensors["model.layers.0.self_attn.kv_a_proj_with_mqa.weight"].shape == (16 + 8, 64)
    assert tensors["model.layers.2.mlp.gate.e_score_correction_bias"].shape == (8,)
    assert {"lm_head.weight", "model.norm.weight", "model.embed_tokens.weight"} <= set(tensors)


@pytest.mark.parametrize("case", ["K2", "whole query", "two shared", "K2's YaRN"])
@pytest.mark.parametrize("shard", [5_000_000_000, 100_000])
def test_what_we_save_loads_in_transformers_and_what_it_saves_loads_here(tmp_path, case, shard):
    from transformers import AutoModelForCausalLM

    model = parity.random_model(parity.cases()[case], 0)
    model.save_pretrained(tmp_path / "ours", max_shard_bytes=shard)
    assert (tmp_path / "ours" / hf.INDEX).exists() == (shard < 1e9)
    assert torch.equal(logits(K2Model.from_pretrained(tmp_path / "ours")), logits(model))
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "ours")
    torch.testing.assert_close(logits(lambda tokens: theirs(tokens).logits), logits(model), atol=1e-4, rtol=0)
    theirs.save_pretrained(tmp_path / "theirs")
    back = K2Model.from_pretrained(tmp_path / "theirs")
    assert torch.equal(logits(back), logits(model)) and back.config == model.config


def test_a_model_loads_in_bf16_with_its_selection_bias_in_fp32(saved):
    loaded = K2Model.from_pretrained(saved[1], dtype=torch.bfloat16)
    assert loaded.lm_head.weight.dtype == torch.bfloat16
    gate = loaded.layers[1].mlp.gate
    assert torch.equal(gate.e_score_correction_bias, saved[0].layers[1].mlp.gate.e_score_correction_bias)
    assert not gate.load.any() and not loaded.training
    assert (logits(loaded).float() - logits(saved[0])).norm() < 0.05 * logits(saved[0]).norm()
    loaded.save_pretrained(saved[1])
    assert torch.equal(K2Model.from_pretrained(saved[1]).norm.weight.bfloat16(), loaded.norm.weight)


def test_saving_again_replaces_the_weights_and_keeps_other_files(tmp_path):
    first, second = parity.random_model(TINY, 0), parity.random_model(TINY, 1)
    first.save_pretrained(tmp_path / "m", max_shard_bytes=100_000)
    (tmp_path / "m" / "tokenizer.json").write_text("{}")
    (tmp_path / "m" / "logs").mkdir()
    (tmp_path / "m" / "logs" / "a.txt").write_text("kept")
    second.save_pretrained(tmp_path / "m")
    assert torch.equal(logits(K2Model.from_pretrained(tmp_path / "m")), logits(second))
    assert sorted(os.listdir(tmp_path / "m")) == ["config.json", "logs", SINGLE, "tokenizer.json"]
    assert (tmp_path / "m" / "logs" / "a.txt").read_text() == "kept"
    assert os.listdir(tmp_path) == ["m"]


def test_a_save_that_fails_leaves_the_old_checkpoint(saved, monkeypatch):
    def full_disk(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    before = {path.name: path.read_bytes() for path in saved[1].iterdir()}
    monkeypatch.setattr(hf, "save_file", full_disk)
    with pytest.raises(OSError, match="no space"):
        parity.random_model(TINY, 1).save_pretrained(saved[1])
    assert {path.name: path.read_bytes() for path in saved[1].iterdir()} == before
    assert os.listdir(saved[1].parent) == ["model"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.pop("model.norm.weight"), "1 missing (model.norm.weight)"),
        (lambda t: t.update(extra=torch.ones(2)), "1 not in the model (extra)"),
        (
            lambda t: t.update({"model.norm.weight": torch.ones(3)}),
            "1 misshapen (model.norm.weight: [3] on disk, [64] in the model)",
        ),
        (
            lambda t: t.update({"model.norm.weight": torch.ones(64, dtype=torch.int64)}),
            "1 of a type that holds no weights (model.norm.weight: I64)",
        ),
        (
            lambda t: [t.pop(name) for name in list(t) if ".experts.3." in name],
            "6 missing (model.layers.1.mlp.experts.3.gate_proj.weight, ",
        ),
        (
            lambda t: t.update({"lm_head.weight": t["lm_head.weight"].to(torch.float8_e4m3fn)}),
            "1 missing (lm_head.weight_scale_inv)",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_listed(saved, change, sentence):
    rewrite(saved[1], change)
    with pytest.raises(ValueError, match=r"^[^\n]+$") as error:
        K2Model.from_pretrained(saved[1])
    assert sentence in str(error.value) and str(saved[1]) in str(error.value)


@pytest.mark.parametrize("keep", [0, 5, 200, -100])
def test_a_truncated_file_is_named(saved, keep):
    file = saved[1] / SINGLE
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged .*copy it again"):
        K2Model.from_pretrained(saved[1])


def test_a_missing_shard_is_named(tmp_path):
    parity.random_model(TINY, 0).save_pretrained(tmp_path / "m", max_shard_bytes=100_000)
    next((tmp_path / "m").glob("model-00002*")).unlink()
    with pytest.raises(FileNotFoundError, match=r"model-00002-of-\d+\.safetensors does not exist"):
        K2Model.from_pretrained(tmp_path / "m")


def test_pickled_weights_are_never_read(saved):
    (saved[1] / SINGLE).unlink()
    torch.save({}, saved[1] / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"pytorch_model\.bin is a pickle, which is never read"):
        K2Model.from_pretrained(saved[1])


@pytest.mark.parametrize("file", ["../model.safetensors", "/etc/passwd", "..", "a/b.safetensors", 3])
def test_an_index_that_points_elsewhere_is_refused(saved, file):
    (saved[1] / hf.INDEX).write_text(json.dumps({"weight_map": {"a": file}}))
    with pytest.raises(ValueError, match="points outside its directory"):
        K2Model.from_pretrained(saved[1])


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"weight_map": 3}'])
def test_a_broken_index_is_named(saved, text):
    (saved[1] / hf.INDEX).write_text(text)
    with pytest.raises(ValueError, match=r"index\.json is not a safetensors index"):
        K2Model.from_pretrained(saved[1])


@pytest.mark.parametrize(("value", "word"), [(float("nan"), "NaN"), (float("-inf"), "infinite")])
def test_weights_that_are_no_numbers_are_named(saved, value, word):
    rewrite(saved[1], lambda t: t["model.layers.1.mlp.experts.3.up_proj.weight"].view(-1)[-1:].fill_(value))
    with pytest.raises(
        ValueError, match=rf"no finite numbers: model\.layers\.1\.mlp\.experts\.3\.up_proj\.weight \({word}\)"
    ):
        K2Model.from_pretrained(saved[1])


def test_a_weight_that_a_smaller_type_cannot_hold_is_named(saved):
    rewrite(saved[1], lambda t: t["model.norm.weight"].fill_(1e6))
    K2Model.from_pretrained(saved[1])
    with pytest.raises(ValueError, match=r"model\.norm\.weight \(too large for torch\.float16\)"):
        K2Model.from_pretrained(saved[1], dtype=torch.float16)


def as_block_fp8(weight: torch.Tensor, high: int = 128, wide: int = 128) -> tuple[torch.Tensor, torch.Tensor]:
    """FP8 with one factor per block of `high` × `wide`, block by block."""
    rows, columns = -(-weight.shape[0] // high), -(-weight.shape[1] // wide)
    quantised, scale = torch.empty_like(weight, dtype=torch.float8_e4m3fn), torch.empty(rows, columns)
    for i in range(rows):
        for j in range(columns):
            place = slice(high * i, high * i + high), slice(wide * j, wide * j + wide)
            scale[i, j] = weight[place].abs().max() / 448
            quantised[place] = (weight[place] / scale[i, j]).to(torch.float8_e4m3fn)
    return quantised, scale


def test_block_fp8_weights_are_multiplied_out(tmp_path):
    model = parity.random_model(TINY.replace(hidden_size=136, intermediate_size=300), 0)
    model.save_pretrained(tmp_path)
    name = "model.layers.0.mlp.gate_proj.weight"  # [300, 136]: ragged blocks both ways
    weight = model.layers[0].mlp.gate_proj.weight.detach()

    def quantise(tensors):
        tensors[name], tensors[f"{name}_scale_inv"] = as_block_fp8(weight)

    rewrite(tmp_path, quantise)
    loaded = K2Model.from_pretrained(tmp_path).layers[0].mlp.gate_proj.weight
    assert 0 < (loaded - weight).abs().max() < 0.07 * weight.abs().max()

    def poison(tensors):
        tensors[f"{name}_scale_inv"][0, 0] = float("nan")

    rewrite(tmp_path, poison)
    with pytest.raises(ValueError, match=r"gate_proj\.weight_scale_inv is not finite"):
        K2Model.from_pretrained(tmp_path)
    rewrite(tmp_path, lambda tensors: tensors.update({f"{name}_scale_inv": torch.ones(1, 1)}))
    with pytest.raises(ValueError, match=r"scale_inv: \[1, 1\] on disk, \[3, 2\] in the model"):
        K2Model.from_pretrained(tmp_path)


def quantised_config(directory, **says):
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"quantization_config": says}))


def test_the_configs_block_size_is_the_one_that_is_read(tmp_path):
    model = parity.random_model(TINY, 0)
    model.save_pretrained(tmp_path)
    name, weight = "lm_head.weight", model.lm_head.weight.detach()
    quantised, scale = as_block_fp8(weight, 32, 16)
    rewrite(tmp_path, lambda t: t.update({name: quantised, f"{name}_scale_inv": scale}))
    quantised_config(tmp_path, quant_method="fp8", weight_block_size=[32, 16])
    loaded = K2Model.from_pretrained(tmp_path).lm_head.weight
    assert 0 < (loaded - weight).abs().max() < 0.07 * weight.abs().max()
    quantised_config(tmp_path, quant_method="fp8", weight_block_size=[16, 32])
    with pytest.raises(ValueError, match=r"lm_head\.weight_scale_inv: .* on disk, .* in the model"):
        K2Model.from_pretrained(tmp_path)
    quantised_config(tmp_path, quant_method="fp8", weight_block_size=[0, "x"])
    with pytest.raises(ValueError, match=r"weight_block_size is \[0, 'x'\]"):
        K2Model.from_pretrained(tmp_path)
    quantised_config(tmp_path, quant_method="awq")
    with pytest.raises(ValueError, match="quantized by 'awq'; only block FP8"):
        K2Model.from_pretrained(tmp_path)


def test_the_extra_prediction_layer_of_deepseek_v3_is_left_out(saved):
    rewrite(saved[1], lambda tensors: tensors.update({"model.layers.3.eh_proj.weight": torch.ones(2, 2)}))
    assert torch.equal(logits(K2Model.from_pretrained(saved[1])), logits(saved[0]))

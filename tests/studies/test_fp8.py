"""The arms of the FP8 study do what they are called, and the interval is Student's."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from k2lib import K2Config, K2Model
from k2lib.corpus import packing
from k2lib.model.regions import listener
from k2lib.profiles import SMOKE
from k2lib.progress import silent
from k2lib.studies import fp8, fp8_error
from k2lib.studies.fp8_products import compute_in_fp8, linear, rounded

CONFIG = K2Config.preset("nano").replace(**SMOKE.model)


def test_a_linear_layer_in_fp8_multiplies_rounded_factors_forwards_and_backwards():
    torch.manual_seed(0)
    x, weight = torch.randn(40, 256, requires_grad=True), torch.randn(384, 256, requires_grad=True)
    d = torch.randn(40, 384)
    y = linear(x, weight)
    y.backward(d)
    qx, qw, qd = rounded(x.detach()), rounded(weight.detach(), (128, 128)), rounded(d)
    assert torch.equal(y, F.linear(qx, qw))
    assert torch.equal(x.grad, qd @ qw) and torch.equal(weight.grad, qd.t() @ qx)
    assert 0.01 < (qx - x).norm() / x.norm() < 0.04


def test_a_model_in_fp8_differs_a_little_everywhere_but_in_head_and_router():
    torch.manual_seed(0)
    model, tokens = K2Model(CONFIG).train(), torch.randint(0, CONFIG.vocab_size, (2, 64))
    plain = model.loss(tokens[:, :-1], tokens[:, 1:])
    plain.backward()
    before = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    stored = compute_in_fp8(model).loss(tokens[:, :-1], tokens[:, 1:])
    stored.backward()
    after = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert set(after) == set(before)
    assert 0 < abs(stored - plain) < 0.05
    for name, gradient in after.items():
        if "norm" not in name and "gate.weight" not in name:
            assert 1e-4 < (gradient - before[name]).norm() / before[name].norm() < 0.3, name
    assert "forward" not in vars(model.lm_head) and "forward" in vars(model.layers[0].self_attn.o_proj)


def test_arms_share_their_start_and_part_by_rounding_alone(shards):
    size = dataclasses.replace(SMOKE.memory, batch_size=2, seq_len=32, steps=3)
    profile, dataset = dataclasses.replace(SMOKE, memory=size), packing.PackedDataset(shards)
    runs = [fp8.measure(CONFIG.replace(vocab_size=320), dataset, profile, seed, silent) for seed in (0, 1)]
    assert [sorted(run) for run in runs] == [sorted(fp8.ARMS)] * 2
    for run in runs:
        assert run["storage"][0] == run["plain"][0] != run["products"][0]  # storage touches no forward pass
        assert run["storage"][1:] != run["plain"][1:]
        assert all(abs(run[arm][-1] - run["plain"][-1]) < 0.1 for arm in fp8.ARMS)
    assert runs[0]["plain"] != runs[1]["plain"]


def test_gaps_compare_the_last_tenth_seed_by_seed():
    runs = [{"plain": [5.0] * 20 + [0.0] * 2, "storage": [1.0] * 20 + [gap, gap]} for gap in (0.1, 0.2, 0.3)]
    assert fp8.gaps(runs, "storage") == pytest.approx([0.1, 0.2, 0.3])


def test_errors_by_kind_name_every_kind_and_a_kind_alone_errs_less_than_all():
    torch.manual_seed(0)
    model, sequences = K2Model(CONFIG).train(), torch.randint(0, CONFIG.vocab_size, (2, 65))
    errors = fp8_error.by_kind(model, sequences)
    assert list(errors) == list(fp8_error.KINDS)
    for kind, error in errors.items():
        assert 0.015 < error.tensor < 0.03, kind  # E4M3's own: three bits of mantissa
        assert 0 < error.gradient < 0.05, kind
    assert listener.get() is None


def test_smaller_tiles_lose_less_and_rounder_scales_more():
    x = torch.randn(256, 256, generator=torch.Generator().manual_seed(0)) * torch.logspace(-3, 3, 256, 10)[:, None]
    errors = fp8_error.by_format(x)
    fp32 = [errors[tile]["fp32"] for tile in fp8_error.TILES]
    assert fp32 == sorted(fp32)
    assert errors["1×128"]["power of two"] > errors["1×128"]["fp32"]
    assert (
        errors["whole tensor"]["none"] == errors["1×32"]["none"] > 0.1 > 3 * errors["1×128"]["fp32"]
    )  # small rows sink
    tiny = fp8_error.by_format(x * 1e-7)
    assert tiny["1×128"]["none"] > 0.9 and tiny["1×128"]["fp32"] == pytest.approx(errors["1×128"]["fp32"], rel=1e-3)


def test_an_outlier_spoils_its_tile_and_no_more():
    x = torch.ones(256, 256)
    errors = fp8_error.beside_an_outlier(x, [1.0, 2.0**24])
    numbers = 256 * 256
    for name, (rows, columns) in {"1×32": (1, 32), "1×128": (1, 128), "128×128": (128, 128)}.items():
        assert errors[name][1] ** 2 == pytest.approx(rows * columns / numbers, rel=0.05)  # its tile is lost, all of it
    assert errors["whole tensor"][1] == pytest.approx(1.0, rel=1e-3)
    assert all(error[0] < 0.03 for error in errors.values())

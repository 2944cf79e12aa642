"""FP8 tiles, the activation store, recomputation and the budget."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from k2lib import K2Config, K2Model
from k2lib.memory import ActivationStore, MemoryMeter, Policy, dequantize_fp8, k2_policy, quantize_fp8, recompute
from k2lib.memory.policy import kind_of
from k2lib.model.moe import Experts
from k2lib.parallel.experts import shard_experts
from k2lib.profiles import SMOKE
from k2lib.studies.kept import kept_bytes

CONFIG = K2Config.preset("nano").replace(**SMOKE.model)


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 9), columns=st.integers(1, 300), exponent=st.integers(-30, 30), seed=st.integers(0, 50))
def test_every_number_comes_back_within_half_a_step(rows, columns, exponent, seed):
    x = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * 2.0**exponent
    q, scale = quantize_fp8(x)
    assert q.dtype == torch.float8_e4m3fn and scale.shape == (rows, -(-columns // 128))
    back = dequantize_fp8(q, scale)
    largest = (
        torch.nn.functional.pad(x.abs(), (0, -columns % 128))
        .unflatten(1, (-1, 128))
        .amax(2)
        .repeat_interleave(128, 1)[:, :columns]
    )
    assert ((back - x).abs() <= torch.maximum(x.abs() / 16, largest / 448 * 2**-10) * 1.0001).all()


def test_tiles_equal_torchs_own_cast_of_the_scaled_tile():
    x = torch.randn(4, 256)
    q, scale = quantize_fp8(x)
    expected = (x.view(4, 2, 128) / scale[..., None]).to(torch.float8_e4m3fn)
    assert torch.equal(q.view(torch.uint8), expected.view(4, 256).view(torch.uint8))
    square, factors = quantize_fp8(x, tile=(128, 128))
    assert factors.shape == (1, 2)
    assert (dequantize_fp8(square, factors, tile=(128, 128)) - x).norm() / x.norm() < 0.04


def test_zeros_nan_and_wrong_shapes():
    q, scale = quantize_fp8(torch.zeros(2, 130))
    assert dequantize_fp8(q, scale).abs().max() == 0
    q, scale = quantize_fp8(torch.tensor([1.0, float("nan")]))
    assert dequantize_fp8(q, scale).isnan().any()
    with pytest.raises(ValueError, match="tile is"):
        quantize_fp8(torch.zeros(2, 2), tile=(0, 128))
    with pytest.raises(ValueError, match="int64"):
        quantize_fp8(torch.zeros(2, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="scale has shape"):
        dequantize_fp8(torch.zeros(2, 300).to(torch.float8_e4m3fn), torch.ones(2, 2))


@pytest.fixture(scope="module")
def setting():
    torch.manual_seed(0)
    return K2Model(CONFIG).train(), torch.randint(0, CONFIG.vocab_size, (4, 129))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_recomputation_and_offload_leave_every_gradient_bit_identical(setting, dtype):
    model, batch = setting
    plain = kept_bytes(model, batch, Policy(), dtype)
    for policy in (Policy(recompute=k2_policy().recompute), Policy(offload=True)):
        other = kept_bytes(model, batch, policy, dtype)
        assert other.loss == plain.loss
        assert other.largest_gradient_difference(plain) == 0.0


def test_each_step_of_the_papers_policy_keeps_fewer_bytes(setting):
    model, batch = setting
    steps = [Policy(), Policy(recompute=k2_policy().recompute), k2_policy(offload=False), k2_policy()]
    sizes = [kept_bytes(model, batch, policy, "float32").total for policy in steps]
    assert sizes[0] > 1.5 * sizes[1] > sizes[1] > sizes[2] > sizes[3]


def test_fp8_storage_changes_gradients_by_a_few_percent_and_not_the_loss(setting):
    model, batch = setting
    plain = kept_bytes(model, batch, Policy(), "float32")
    stored = kept_bytes(model, batch, Policy(fp8=frozenset({"experts"})), "float32")
    assert stored.loss == plain.loss
    a, b = (torch.cat([g.flatten() for g in kept.gradients.values()]) for kept in (stored, plain))
    assert 1e-6 < (a - b).norm() / b.norm() < 0.05


def test_the_share_of_experts_of_one_process_is_stored_as_all_of_them_are():
    experts = shard_experts(Experts(CONFIG), rank=0, processes=2)
    assert kind_of(experts) == kind_of(Experts(CONFIG)) == "experts"
    kinds = {kind_of(module) for module in K2Model(CONFIG).modules()}
    assert kinds == {"norm", "attention", "router", "experts", "feed-forward", None}


def test_bytes_are_counted_exactly_and_a_tensor_saved_twice_counts_once():
    x = torch.randn(64, 100, requires_grad=True)
    with MemoryMeter() as meter:
        y = x.exp()  # saves its result
        (y * y).sum()  # saves y twice, which is the result again
    assert meter.total_bytes == 64 * 100 * 4


def test_weights_and_their_casts_are_not_activations():
    layer = torch.nn.Linear(128, 128, bias=False)
    x = torch.randn(64, 128)
    with MemoryMeter() as meter, torch.autocast("cpu", torch.bfloat16):
        layer(x)
    assert meter.total_bytes == 64 * 128 * 2  # the cast input


def test_a_freed_tensors_address_is_not_mistaken_for_it():
    x = torch.randn(70, 70, requires_grad=True)
    with ActivationStore(Policy(offload=True)):
        total = sum(((x * i).exp() * 1.0).sin().sum() for i in range(1, 6))
    total.backward()
    (expected,) = torch.autograd.grad(sum((x * i).exp().sin().sum() for i in range(1, 6)), x)
    torch.testing.assert_close(x.grad, expected)


def test_recompute_leaves_the_model_as_it_was(setting):
    model, _ = setting
    with recompute(model, k2_policy()):
        assert "forward" in vars(model.layers[0].self_attn)
    assert not any("forward" in vars(module) for module in model.modules())

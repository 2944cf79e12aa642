"""FP8 tiles."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from k2lib.memory import dequantize_fp8, quantize_fp8


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

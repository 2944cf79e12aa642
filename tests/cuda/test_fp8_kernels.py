"""kernels/quantize_fp8.cu and its inverse, run thread by thread, against PyTorch's own cast, bit by bit."""

from functools import partial

import pytest
import torch

from k2lib.cuda import fp8
from k2lib.cuda.kernel import Kernel
from k2lib.memory import dequantize_fp8, quantize_fp8

SHAPES = [(1, 1), (1, 128), (3, 100), (2, 129), (17, 8), (5, 1000), (130, 257), (64, 2048)]
ORDERS = (1, -1, 0)  # in which threads take turns


def numbers(rows: int, columns: int, dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(rows * columns)
    spread = 10.0 ** torch.randint(-8, 8, (rows, 1), generator=generator)
    return (torch.randn(rows, columns, generator=generator) * spread).to(dtype)


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(a.view(torch.uint8), b.view(torch.uint8))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("tile_rows", fp8.TILE_ROWS)
@pytest.mark.parametrize("dtype", fp8.TYPES)
def test_quantised_bits_are_those_of_pytorchs_cast(dtype, tile_rows, order):
    for rows, columns in SHAPES:
        x = numbers(rows, columns, dtype)
        q, scale = fp8.quantize(x, tile_rows, partial(Kernel.simulate, order=order))
        expected, factors = quantize_fp8(x, (tile_rows, 128))
        assert torch.equal(scale, factors) and same_bits(q, expected), (rows, columns)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("tile_rows", fp8.TILE_ROWS)
@pytest.mark.parametrize("dtype", fp8.TYPES)
def test_the_way_back_gives_the_formulas_bits(dtype, tile_rows, order):
    for rows, columns in SHAPES:
        q, scale = quantize_fp8(numbers(rows, columns, torch.float32), (tile_rows, 128))
        x = fp8.dequantize(q, scale, dtype, tile_rows, partial(Kernel.simulate, order=order))
        assert torch.equal(x, dequantize_fp8(q, scale, dtype, (tile_rows, 128))), (rows, columns)


@pytest.mark.parametrize("tile_rows", fp8.TILE_ROWS)
def test_every_fp8_number_comes_back_exactly(tile_rows):
    q = torch.arange(256, dtype=torch.uint8).view(2, 128).view(torch.float8_e4m3fn)
    scale = torch.ones(2 if tile_rows == 1 else 1, 1)
    x = fp8.dequantize(q, scale, torch.float32, tile_rows, Kernel.simulate)
    torch.testing.assert_close(x, q.float(), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("tile_rows", fp8.TILE_ROWS)
@pytest.mark.parametrize("dtype", fp8.TYPES)
def test_numbers_at_the_edge_of_the_format_are_treated_as_the_formula_does(dtype, tile_rows):
    nan, inf = float("nan"), float("inf")
    for special in (
        [0.0, -0.0],
        [nan, -nan, 3.0],
        [inf, 1.0],
        [-inf, nan],
        [1e-45, -1e-44],
        [1e-38, 2e-38],
        [3.3e38, 1.0],
    ):
        x = torch.zeros(3, 200)
        x[1, : len(special)] = torch.tensor(special)
        x[2, 150] = 448.0
        x = x.to(dtype)
        q, scale = fp8.quantize(x, tile_rows, Kernel.simulate)
        expected, factors = quantize_fp8(x, (tile_rows, 128))
        assert torch.equal(scale, factors) and same_bits(q, expected), special


def test_a_nan_spoils_no_neighbour_and_an_infinity_comes_back_large():
    x = torch.tensor([[float("nan"), 1.0, -3.0, 0.5], [float("inf"), 1.0, 2.0, -float("inf")]])
    back = dequantize_fp8(*quantize_fp8(x))
    assert back[0].isnan().tolist() == [True, False, False, False]
    torch.testing.assert_close(back[0, 1:], x[0, 1:], rtol=2**-4, atol=0)
    assert back[1].isfinite().all() and back[1, 0] > 3e38 and back[1, 3] < -3e38


def test_the_operations_keep_their_promises_and_compile():
    x = torch.randn(5, 300)
    q, scale = quantize_fp8(x)
    promises = (
        "test_faketensor",
        "test_autograd_registration",
    )  # the schema's test multiplies, which FP8 cannot on a CPU
    torch.library.opcheck(torch.ops.k2.quantize_fp8.default, (x, 1, 128), test_utils=promises)
    torch.library.opcheck(torch.ops.k2.dequantize_fp8.default, (q, scale, torch.float32, 1, 128), test_utils=promises)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def there_and_back(x):
        q, scale = quantize_fp8(x * 2)
        return dequantize_fp8(q, scale) + 1

    assert torch.equal(there_and_back(x), dequantize_fp8(*quantize_fp8(x * 2)) + 1)


def test_an_empty_matrix_launches_nothing():
    q, scale = fp8.quantize(torch.zeros(0, 128), run=Kernel.simulate)
    assert q.shape == (0, 128) and scale.shape == (0, 1)
    assert quantize_fp8(torch.zeros(0, 128))[0].shape == (0, 128)

"""A fault planted into a kernel is reported by the simulator or changes what it computes, in some order of threads."""

import shutil
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from k2lib.cuda import clip, fp8, logits, moe, norm, source
from k2lib.cuda.kernel import Kernel
from k2lib.memory import quantize_fp8
from k2lib.model.attention import QKPart

pytestmark = pytest.mark.slow
ORDERS = (1, -1, 0)


@pytest.fixture(autouse=True)
def few_blocks(monkeypatch):
    """So few that each has to go on to further rows."""
    monkeypatch.setattr(norm, "BACKWARD_BLOCKS", 2)
    monkeypatch.setattr(clip, "BLOCKS", 4)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def same(*pairs: tuple[torch.Tensor, torch.Tensor]) -> bool:
    return all(torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-4) for a, b in pairs)


def quantize(run) -> bool:
    x = drawn(130, 257).bfloat16()
    pairs = []
    for tile_rows in fp8.TILE_ROWS:
        (q, scale), (expected, factors) = fp8.quantize(x, tile_rows, run), quantize_fp8(x, (tile_rows, 128))
        pairs += [(q.view(torch.uint8), expected.view(torch.uint8)), (scale, factors)]
    return same(*pairs)


def swiglu(run) -> bool:
    x = drawn(5, 2 * 130)
    h, q, scale = fp8.swiglu(x, run)
    (_, expected_q, expected_scale), dh = torch.ops.k2.swiglu_fp8(x), drawn(5, 130, seed=1)
    gradient = fp8.swiglu_backward(dh, expected_q, expected_scale, run)
    expected = torch.ops.k2.swiglu_fp8_backward(dh, expected_q, expected_scale)
    bits = (q.view(torch.uint8), expected_q.view(torch.uint8))
    return same((h, F.silu(x[:, :130]) * x[:, 130:]), bits, (scale, expected_scale), (gradient, expected))


def add_rmsnorm(run) -> bool:
    x, residual, weight, dy = drawn(5, 2500), drawn(5, 2500, seed=1), drawn(2500, seed=2), drawn(5, 2500, seed=3)
    h, y, rstd = norm.add_rmsnorm(x, residual, weight, 1e-6, run)
    wide, learned = (x + residual).double().requires_grad_(), weight.double().requires_grad_()
    expected = learned * wide * (wide.square().mean(-1, keepdim=True) + 1e-6).rsqrt()
    expected.backward(dy.double())
    dx, d_weight = norm.add_rmsnorm_backward(dy, torch.zeros_like(dy), x + residual, weight, rstd, run)
    return same((h, x + residual), (y, expected), (dx, wide.grad), (d_weight, learned.grad))


def router(run) -> bool:
    scores, bias = drawn(9, 70), 0.2 * drawn(70, seed=1)
    gates, chosen = moe.choose(scores, bias, 8, 2.5, run)
    best = (scores.sigmoid() + bias).topk(8).indices
    own = scores.sigmoid().gather(1, best)
    _, tied = moe.choose(torch.zeros(1, 70), torch.zeros(70), 8, 1.0, run)
    return same((tied, torch.arange(8)[None]), (chosen, best), (gates, 2.5 * own / own.sum(-1, keepdim=True)))


def permute(run) -> bool:
    x, order, gates = drawn(7, 200), torch.randperm(21, generator=torch.Generator().manual_seed(0)), drawn(7, 3).abs()
    token, place = order // 3, order.argsort().view(7, 3)
    rows = moe.permute(x, token, run)
    (q, scale), (expected, factors) = moe.permute_fp8(x, token, run), quantize_fp8(x[token])
    summed = moe.unpermute(x[token], place, gates, run)
    bits = (q.view(torch.uint8), expected.view(torch.uint8))
    return same((rows, x[token]), bits, (scale, factors), (summed, (x[token][place] * gates[..., None]).sum(1)))


def rescale(run) -> bool:
    weight = torch.nn.Parameter(drawn(3 * 10, 20))
    expected, factors = weight.detach().clone().view(3, 10, 20), torch.tensor([0.5, 1.0, 0.25])
    expected[:, 4:9] *= factors[:, None, None]
    clip.rescale([QKPart(weight, 3, 4, 9, 1.0)], [factors], run)
    return same((weight.detach(), expected.view(30, 20)))


def largest_logit(run) -> bool:
    q, k = drawn(2, 90, 32).bfloat16(), drawn(2, 90, 32, seed=1).bfloat16()
    k[0, 41], k[1, 20] = 20 * q[0, 40], 20 * q[1, 20]  # the largest logits: one a step in the future, one with itself
    scores = (q.double() @ k.double().transpose(1, 2)).masked_fill(torch.ones(90, 90).triu(1).bool(), -torch.inf)
    (exact, _), (bound, _) = (logits.max_logits(q, k, 1.0, tau, run) for tau in (0.0, 1e9))
    lengths = q.double().norm(dim=-1).amax(1) * k.double().norm(dim=-1).amax(1)
    return same((exact, scores.amax((1, 2))), (bound, lengths))


FAULTS = [  # what agrees without it, the file, what stands there, and the fault in its place
    (quantize, "quantize_fp8.cu", "    __syncthreads();\n", ""),
    (quantize, "quantize_fp8.cu", "scales + at.tile", "scales + at.tile / 2 * 2"),
    (quantize, "quantize_fp8.cu", "row < rows ? columns - column : 0", "row < rows - 1 ? columns - column : 0"),
    (quantize, "fp8_tiles.cuh", "tile < tiles ? columns - column : 0", "tile < tiles ? columns / 8 * 8 - column : 0"),
    (quantize, "fp8_tiles.cuh", "lanes_max<kLanes>", "lanes_max<kLanes / 2>"),
    (quantize, "fp8_tiles.cuh", "to_fp8(v[i] / scale)", "to_fp8(v[i] / scale / 2)"),
    (quantize, "common.cuh", "x = fmaxf(x, __shfl_xor_sync(~0u", "x = fmaxf(x, __shfl_xor_sync(0xffffu"),
    (swiglu, "swiglu_fp8.cu", "scale + across, up", "scale, up"),
    (swiglu, "swiglu_fp8.cu", "(1 + gate[i] * (1 - s))", "(1 - gate[i] * (1 - s))"),
    (swiglu, "swiglu_fp8.cu", "d[i] * gate[i] * s", "d[i] * gate[i]"),
    (add_rmsnorm, "common.cuh", "    __syncthreads();\n    float sum", "    float sum"),
    (add_rmsnorm, "common.cuh", "    __syncthreads();  // whoever still reads the sum before\n", ""),
    (add_rmsnorm, "add_rmsnorm.cu", "(g - unit * along)", "g"),
    (add_rmsnorm, "add_rmsnorm.cu", "r += gridDim.x) {", "r += 2 * gridDim.x) {"),
    (router, "router.cu", "score[i] + bias[expert]", "score[i]"),
    (router, "router.cu", "if (other > best || (", "if (other >= best || ("),
    (router, "router.cu", "best = other, own = its,", "best = other, own = best,"),
    (router, "router.cu", "biased[i] = none;\n        sum", "biased[i] += 0;\n        sum"),
    (permute, "moe_permute.cu", "sum[i] += gates[pair] * v[i]", "sum[i] = gates[pair] * v[i]"),
    (permute, "moe_permute.cu", "token[at.row] * width", "at.row / 3 * width"),
    (rescale, "qk_clip.cu", "part[3], slice", "0, slice"),
    (rescale, "qk_clip.cu", "r += gridDim.x", "r += gridDim.x + 1"),
    (largest_logit, "max_logit.cu", "j <= i && i < length", "j <= i + 1 && i < length"),
    (largest_logit, "max_logit.cu", "key <= first + 15", "key < first"),
    (largest_logit, "max_logit.cu", "squares += to_float", "squares = to_float"),
]


@pytest.mark.parametrize("number", range(len(FAULTS)), ids=lambda n: f"{FAULTS[n][1]}-{n}")
def test_a_planted_fault_is_noticed(number, tmp_path, monkeypatch):
    agrees, file, right, wrong = FAULTS[number]
    for path in source.KERNELS.glob("*"):
        shutil.copy(path, tmp_path)
    text = (tmp_path / file).read_text(encoding="utf-8")
    assert right in text, f"{file} no longer holds {right!r}; the list must follow the code"
    (tmp_path / file).write_text(text.replace(right, wrong), encoding="utf-8")
    monkeypatch.setattr(source, "KERNELS", tmp_path)
    assert not all(sound(agrees, order) for order in ORDERS)


@pytest.mark.parametrize("agrees", dict.fromkeys(agrees for agrees, *_ in FAULTS), ids=lambda f: f.__name__)
def test_without_a_fault_everything_agrees(agrees):
    assert all(sound(agrees, order) for order in ORDERS)


def sound(agrees, order: int) -> bool:
    try:
        return agrees(partial(Kernel.simulate, order=order))
    except RuntimeError:  # the simulator saw it
        return False

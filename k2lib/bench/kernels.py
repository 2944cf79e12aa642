"""The raw kernels at K2's sizes: achieved bytes a second against a copy's, and against torch.compile of the same formula.

Without a GPU it prints what each must move and the time that a copy of as much takes, the floor; nothing else is known here.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from k2lib import machine
from k2lib.bench.rounds import in_turns, report
from k2lib.cuda import fp8, moe, norm
from k2lib.memory import quantize_fp8

TOKENS, WIDTH, EXPERT, ACTIVE, EXPERTS = 8192, 7168, 2048, 8, 384  # of one of K2's layers
COPY = 4.3e12  # bytes a second that a copy on an H200 reads and writes, for the floors of whoever has none
CALLS = 20  # in a row, as a training step launches them: one alone would be timed with its launch
PRODUCTS = 790e12  # FLOP/s of a large bf16 product there


@dataclass(frozen=True)
class Case:
    moved: int  # bytes read and written at least
    flops: int  # additions, products, comparisons and elementary functions, one each
    make: Callable[
        [torch.device], tuple[Callable[[], object], Callable[[], object]]
    ]  # ours, and the formula to compile


def run(dtype: str = "auto", rounds: int = 20) -> dict:
    """Times every kernel on the GPU; without one, prints the floors. ValueError for a dtype other than bf16."""
    if dtype not in ("auto", "bfloat16"):
        raise ValueError(f"the kernels are timed in bfloat16, not in {dtype}")
    where = machine.device()
    if where.type != machine.GPU:
        print(f"no GPU here: floors at {COPY / 1e12:g} TB/s, nothing timed")
        for name, case in CASES.items():
            print(f"  {name:22} {case.moved / 1e6:7.0f} MB  {1e6 * case.moved / COPY:6.0f} µs")
        return {name: case.moved / COPY for name, case in CASES.items()}
    copy, found = 1e9 * machine.rates(where).bandwidth, {}
    for name, case in CASES.items():
        ours, formula = case.make(where)
        timings = in_turns({"k2lib": ours, "torch.compile": torch.compile(formula)}, rounds, warmup=3, calls=CALLS)
        extra = {way: {"of the copy rate": round(case.moved / t.median / copy, 3)} for way, t in timings.items()}
        found[name] = report(f"{name}, {case.moved / 1e6:.0f} MB", timings, extra)
    return found


def _random(where: torch.device, *shape: int) -> Tensor:
    return torch.randn(*shape, device=where).bfloat16()


def _quantize(where):
    x = _random(where, TOKENS, WIDTH)
    return lambda: fp8.quantize(x), lambda: _formula(x)


def _dequantize(where):
    q, scale = quantize_fp8(_random(where, TOKENS, WIDTH))
    return (
        lambda: fp8.dequantize(q, scale, torch.bfloat16),
        lambda: (q.float().unflatten(-1, (-1, 128)) * scale[..., None]).bfloat16().flatten(-2),
    )


def _swiglu(where):
    x = _random(where, TOKENS * ACTIVE, 2 * EXPERT)
    return lambda: fp8.swiglu(x), lambda: (F.silu(x[:, :EXPERT].float()) * x[:, EXPERT:], _formula(x))


def _swiglu_backward(where):
    _, q, scale = fp8.swiglu(_random(where, TOKENS * ACTIVE, 2 * EXPERT))
    dh = _random(where, TOKENS * ACTIVE, EXPERT)

    def formula() -> Tensor:
        stash = q.float().unflatten(-1, (-1, 128)) * scale[..., None]
        gate, up = stash.flatten(-2).chunk(2, -1)
        sigmoid, d = gate.sigmoid(), dh.float()
        return torch.cat((d * up * sigmoid * (1 + gate * (1 - sigmoid)), d * gate * sigmoid), -1).bfloat16()

    return lambda: fp8.swiglu_backward(dh, q, scale), formula


def _add_rmsnorm(where):
    x, residual, weight = _random(where, TOKENS, WIDTH), _random(where, TOKENS, WIDTH), _random(where, WIDTH)

    def formula() -> tuple[Tensor, Tensor]:
        h = x + residual
        wide = h.float()
        return h, (wide * (wide.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * weight).bfloat16()

    return lambda: norm.add_rmsnorm(x, residual, weight, 1e-6), formula


def _add_rmsnorm_backward(where):
    dy, dh, h, weight = (_random(where, *shape) for shape in ((TOKENS, WIDTH),) * 3 + ((WIDTH,),))
    rstd = torch.rand(TOKENS, device=where)

    def formula() -> tuple[Tensor, Tensor]:
        unit, d = h.float() * rstd[:, None], dy.float()
        g = d * weight
        dx = (g - unit * (g * unit).mean(-1, keepdim=True)) * rstd[:, None] + dh
        return dx.bfloat16(), (d * unit).sum(0)

    return lambda: norm.add_rmsnorm_backward(dy, dh, h, weight, rstd), formula


def _permute(where):
    x, token = _random(where, TOKENS, WIDTH), torch.randperm(TOKENS * ACTIVE, device=where) // ACTIVE
    return lambda: moe.permute(x, token), lambda: x[token]


def _permute_fp8(where):
    x, token = _random(where, TOKENS, WIDTH), torch.randperm(TOKENS * ACTIVE, device=where) // ACTIVE
    return lambda: moe.permute_fp8(x, token), lambda: _formula(x[token])


def _router(where):
    logits, bias = torch.randn(TOKENS, EXPERTS, device=where), torch.randn(EXPERTS, device=where)

    def formula() -> tuple[Tensor, Tensor]:
        scores = logits.sigmoid()
        chosen = (scores + bias).topk(ACTIVE).indices
        gates = scores.gather(1, chosen)
        return gates / gates.sum(-1, keepdim=True), chosen

    return lambda: moe.choose(logits, bias, ACTIVE, 1.0), formula


def _unpermute(where):
    rows, gates = _random(where, TOKENS * ACTIVE, WIDTH), torch.rand(TOKENS, ACTIVE, device=where)
    place = torch.randperm(TOKENS * ACTIVE, device=where).view(TOKENS, ACTIVE)
    return lambda: moe.unpermute(rows, place, gates), lambda: (rows[place].float() * gates[..., None]).sum(1).bfloat16()


def _formula(x: Tensor) -> tuple[Tensor, Tensor]:
    """Quantising tiles of 1 × 128, as one would write it for a compiler."""
    tiles = x.float().unflatten(-1, (-1, 128))
    scale = tiles.abs().amax(-1, keepdim=True) / 448.0
    return (tiles / scale).to(torch.float8_e4m3fn).flatten(-2), scale.squeeze(-1)


MATRIX, PAIRS = TOKENS * WIDTH, TOKENS * ACTIVE * EXPERT
CASES = {
    "quantize_fp8": Case(3 * MATRIX + MATRIX // 32, 4 * MATRIX, _quantize),  # |x|, largest, product, rounding
    "dequantize_fp8": Case(3 * MATRIX + MATRIX // 32, 2 * MATRIX, _dequantize),
    "swiglu_fp8 forward": Case(8 * PAIRS + PAIRS // 16, 13 * PAIRS, _swiglu),  # five for silu · up, eight to quantise
    "swiglu_fp8 backward": Case(8 * PAIRS + PAIRS // 16, 16 * PAIRS, _swiglu_backward),
    "add_rmsnorm forward": Case(8 * MATRIX, 5 * MATRIX, _add_rmsnorm),
    "add_rmsnorm backward": Case(8 * MATRIX, 9 * MATRIX, _add_rmsnorm_backward),
    "moe_permute permute": Case(2 * (ACTIVE + 1) * MATRIX, 0, _permute),
    "moe_permute permute_fp8": Case(2 * MATRIX + ACTIVE * (MATRIX + MATRIX // 32), 4 * ACTIVE * MATRIX, _permute_fp8),
    "moe_permute unpermute": Case(2 * (ACTIVE + 1) * MATRIX, 2 * ACTIVE * MATRIX, _unpermute),
    "router": Case(TOKENS * (4 * EXPERTS + 12 * ACTIVE), TOKENS * 5 * EXPERTS, _router),
}

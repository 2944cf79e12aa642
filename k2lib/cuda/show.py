"""What a kernel does, on any machine: some numbers in, some out, the error against fp64, the time (`k2 kernel run`)."""

import re
import time
from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import Tensor

from k2lib import machine
from k2lib.cuda import clip, fp8, logits, moe, norm, source
from k2lib.cuda.kernel import Kernel

SHOWN = 4  # numbers of each row


def run(name: str, rows: int, columns: int, seed: int = 0) -> None:
    """Runs one kernel on random numbers, on the GPU if there is one, else on the simulator. ValueError lists the names."""
    if name not in SHOWS:
        raise ValueError(f"there is nothing to show for {name!r}; choose one of {', '.join(SHOWS)}")
    if min(rows, columns) < 1:
        raise ValueError(f"a matrix of {rows} × {columns} numbers is empty; give at least one row and one column")
    on_gpu = machine.device().type == machine.GPU
    where = machine.device() if on_gpu else machine.HOST
    launch = Kernel.__call__ if on_gpu else Kernel.simulate
    torch.manual_seed(seed)
    given, made, exact = SHOWS[name](rows, columns, where, launch)  # compiles
    started = time.perf_counter()
    SHOWS[name](rows, columns, where, launch)
    seconds = time.perf_counter() - started
    place = machine.device_name(where) if on_gpu else "the simulator, one fiber a thread"
    print(f"kernels/{name}.cu on {place}: {rows} × {columns}")
    for title, values in (given | made).items():
        corner = values.float().flatten(0, -2)[:2, :SHOWN].tolist()
        print(f"  {title:8} {'  '.join(' '.join(f'{v:9.4g}' for v in row) + ' …' for row in corner)}")
    result = next(iter(made.values())).double().cpu()
    print(f"  error against fp64: {float((result - exact).norm() / exact.norm()):.2e} (relative, norm)")
    print(f"  time: {1e3 * seconds:.1f} ms" + ("" if on_gpu else ", which says nothing about a GPU"))


def excerpt(file: str, entry: str) -> None:
    """Displays one function of a file in kernels/: the paragraph that defines it, with the comment above."""
    from IPython.display import Markdown, display

    text = (source.KERNELS / file).read_text(encoding="utf-8")
    found = next(part for part in text.split("\n\n") if re.search(rf"\b{entry}\(", part))
    display(Markdown(f"```cuda\n{found.strip()}\n```"))


def _quantize(rows: int, columns: int, where: torch.device, launch: Callable) -> tuple[dict, dict, Tensor]:
    """(inputs, outputs, the first output in fp64); the error is that of the stored number, scale included."""
    x = torch.randn(rows, columns, device=where).bfloat16()
    q, scale = fp8.quantize(x, run=launch)
    factors = scale.double().cpu().repeat_interleave(fp8.COLUMNS, -1)[:, :columns]
    stored = q.double().cpu() * factors
    return {"x": x}, {"stored": stored, "q": q, "scale": scale}, x.double().cpu()


def _dequantize(rows: int, columns: int, where: torch.device, launch: Callable) -> tuple[dict, dict, Tensor]:
    q, scale = fp8.quantize(torch.randn(rows, columns, device=where), run=launch)
    factors = scale.double().cpu().repeat_interleave(fp8.COLUMNS, -1)[:, :columns]
    x = fp8.dequantize(q, scale, torch.bfloat16, run=launch)
    return {"q": q, "scale": scale}, {"x": x}, q.double().cpu() * factors


def _swiglu(rows: int, columns: int, where: torch.device, launch: Callable) -> tuple[dict, dict, Tensor]:
    x = torch.randn(rows, 2 * columns, device=where).bfloat16()
    h, q, scale = fp8.swiglu(x, launch)
    gate, up = x.double().cpu().chunk(2, -1)
    return {"gate, up": x}, {"h": h, "q": q, "scale": scale}, gate * gate.sigmoid() * up


def _add_rmsnorm(rows: int, columns: int, where: torch.device, launch: Callable) -> tuple[dict, dict, Tensor]:
    x, residual = (torch.randn(rows, columns, device=where).bfloat16() for _ in range(2))
    h, y, rstd = norm.add_rmsnorm(x, residual, torch.ones_like(x[0]), 1e-6, launch)
    wide = h.double().cpu()
    exact = wide / (wide.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    return {"x": x, "residual": residual}, {"y": y, "h": h, "rstd": rstd[:, None]}, exact


def _router(rows: int, columns: int, where: torch.device, launch: Callable) -> tuple[dict, dict, Tensor]:
    experts, active = min(columns, moe.WARP * moe.MOST_PER_LANE), 8
    scores = torch.randn(rows, experts, device=where)
    gates, chosen = moe.choose(scores, torch.zeros(experts, device=where), min(active, experts), 1.0, launch)
    best = scores.double().cpu().sigmoid().gather(1, chosen.cpu())
    return {"logits": scores}, {"gates": gates, "chosen": chosen}, best / best.sum(-1, keepdim=True)


def _moe_permute(rows: int, columns: int, where: torch.device, launch: Callable) -> tuple[dict, dict, Tensor]:
    x, active = torch.randn(rows, columns, device=where).bfloat16(), 8
    order = torch.randperm(rows * active, device=where)
    gates, place = torch.rand(rows, active, device=where), order.argsort().view(rows, active)
    moved = moe.permute(x, order // active, launch)
    out = moe.unpermute(moved, place, gates, launch)
    exact = x.double().cpu() * gates.double().cpu().sum(-1, keepdim=True)
    return {"x": x, "gates": gates}, {"sum": out, "rows": moved}, exact


def _qk_clip(rows: int, columns: int, where: torch.device, launch: Callable) -> tuple[dict, dict, Tensor]:
    """As many heads as rows divided by eight, every other one clipped by half."""
    heads = max(rows // 8, 1)
    weight = torch.nn.Parameter(torch.randn(heads * 8, columns, device=where))
    before, factors = weight.detach().clone(), torch.ones(heads, device=where)
    factors[::2] = 0.5
    clip.rescale([SimpleNamespace(weight=weight, heads=heads, start=0, stop=8)], [factors], launch)
    exact = before.double().cpu() * factors.double().cpu().repeat_interleave(8)[:, None]
    return {"weight": before, "factors": factors[:, None]}, {"clipped": weight.detach()}, exact


def _max_logit(rows: int, columns: int, where: torch.device, launch: Callable) -> tuple[dict, dict, Tensor]:
    """Four heads of as many tokens as rows, 64 numbers wide, whatever the columns."""
    q, k = (torch.randn(4, rows, 64, device=where).bfloat16() for _ in range(2))
    maxima, _ = logits.max_logits(q, k, 1.0, 0.0, launch)
    scores = (q.double() @ k.double().transpose(1, 2)).cpu()
    exact = scores.masked_fill(torch.ones(rows, rows, dtype=torch.bool).triu(1), -torch.inf).amax((1, 2))
    return {"q": q, "k": k}, {"maxima": maxima[:, None]}, exact[:, None]


SHOWS = {
    "quantize_fp8": _quantize,
    "dequantize_fp8": _dequantize,
    "swiglu_fp8": _swiglu,
    "add_rmsnorm": _add_rmsnorm,
    "router": _router,
    "moe_permute": _moe_permute,
    "qk_clip": _qk_clip,
    "max_logit": _max_logit,
}

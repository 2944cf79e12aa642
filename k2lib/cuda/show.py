"""What a kernel does, on any machine: some numbers in, some out, the error against fp64, the time (`k2 kernel run`)."""

import re
import time
from collections.abc import Callable

import torch
from torch import Tensor

from k2lib import machine
from k2lib.cuda import fp8, source
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


SHOWS = {"quantize_fp8": _quantize, "dequantize_fp8": _dequantize}

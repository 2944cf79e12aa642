"""Kernels on the CPU: the same .cu file through g++ and ci/cusim, one fiber to each CUDA thread.

For reading and testing, not for speed. What a GPU would answer with silence or a crash (a missing barrier, a lane that waits
for ever, a write past shared memory) is a RuntimeError with block and thread.
"""

import ctypes
import functools
import itertools
import shutil
import subprocess
from pathlib import Path

import numpy as np

from k2lib.cuda import source
from k2lib.places import CUSIM

FLAGS = [
    "-std=c++20",
    "-O2",
    "-march=native",
    "-ffp-contract=off",
    "-fno-extern-tls-init",
    "-fno-strict-aliasing",
    "-pthread",
    "-shared",
    "-fPIC",
]
FLAGS += ["-Wall", "-Wextra", "-Wno-unknown-pragmas"]


def missing() -> str | None:
    """Why kernels cannot be simulated on this machine, in a sentence; None if they can."""
    if shutil.which("g++") is None:
        return "the simulator compiles with g++, which is not here; install gcc's C++ compiler"
    try:
        source.headers()
    except RuntimeError as error:
        return str(error)
    return None


def launch(
    file: str, kernel: str, grid: tuple, block: tuple, arguments: list[np.generic], shared: int, order: int
) -> None:
    """Runs a kernel; arguments are numpy scalars, pointers as uint64. `order`: as `Kernel.simulate` has it.

    RuntimeError for what went wrong in a thread, TypeError for arguments of the wrong number or size.
    """
    library = _library(file, kernel, source.expand(file))
    library.k0_sizes.restype, library.k0.restype = ctypes.POINTER(ctypes.c_int), ctypes.c_char_p
    sizes = library.k0_sizes()
    wanted = list(itertools.takewhile(bool, (sizes[i] for i in itertools.count())))
    if [a.itemsize for a in arguments] != wanted:
        given = [a.itemsize for a in arguments]
        raise TypeError(f"{kernel} takes arguments of {wanted} bytes, got {given}")
    boxes = [np.array([a]) for a in arguments]
    dims = (ctypes.c_uint * 6)(*(*grid, 1, 1)[:3], *(*block, 1, 1)[:3])
    pointers = (ctypes.c_void_p * len(boxes))(*(box.ctypes.data for box in boxes))
    error = library.k0(dims, ctypes.c_size_t(shared), order, pointers)
    if error:
        raise RuntimeError(f"{kernel}: {error.decode()}")


@functools.cache
def _library(file: str, kernel: str, text: str) -> ctypes.CDLL:
    if reason := missing():
        raise RuntimeError(reason)
    text = f'#include "cusim.h"\n{text}\nCUSIM_EXPORT(k0, {kernel})\n'
    runtime = [path.read_text(encoding="utf-8") for path in sorted(CUSIM.glob("*.h"))]
    flags = [*FLAGS, f"-I{CUSIM}", *(f"-isystem{place[2:]}" for place in source.headers())]

    def make(path: Path) -> None:
        command = ["g++", *flags, "-x", "c++", "-", "-o", str(path)]
        done = subprocess.run(command, input=text, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{file}.cu does not compile:\n{done.stderr}")

    return ctypes.CDLL(str(source.compiled(file, ".so", [text, *runtime, *flags], make)))

"""Kernels to machine code by NVRTC, on any machine: compiling needs no GPU, only NVIDIA's library.

Not through CuPy's RawModule: it takes the architecture from the device and never compiles for sm_90a, and it adds -ftz=true.
"""

import ctypes
import functools
import re
import shutil
import subprocess
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from k2lib.cuda import source


def cubin(name: str, kernel: str, arch: str) -> tuple[bytes, str]:
    """(machine code, mangled name) of one kernel of <name>.cu for an architecture such as "sm_90a".

    RuntimeError with NVRTC's messages (file, line) if it does not compile, or saying that NVRTC is not here.
    """
    flags, text = _flags(arch), source.expand(name)

    def make(path: Path) -> None:
        with _program(text, name, kernel, flags) as program:
            lowered = ctypes.c_char_p()
            _check(library().nvrtcGetLoweredName(program, kernel.encode(), ctypes.byref(lowered)))
            path.write_bytes(lowered.value + b"\n" + _bytes(program, "CUBIN"))

    made_from = [text, kernel, *flags, _version()]
    mangled, _, image = source.compiled(name, ".cubin", made_from, make).read_bytes().partition(b"\n")
    return image, mangled.decode()


@dataclass(frozen=True)
class Usage:
    """What one thread of a kernel takes, and how it moves memory."""

    registers: int
    spilled: int  # loads and stores of local memory: what registers could not hold
    loads: dict[int, int]  # bytes -> how many loads of that size stand in the machine code, shared memory aside
    stores: dict[int, int]


def usage(name: str, kernel: str, arch: str) -> Usage:
    """Counted in the machine code, for an architecture such as "sm_90a". RuntimeError without NVIDIA's disassembler."""
    flags = [*_flags(arch), "--ptxas-options=-v"]
    with _program(source.expand(name), name, kernel, flags) as program:
        log = _bytes(program, "ProgramLog").decode(errors="replace")
    code = disassembled(cubin(name, kernel, arch)[0])
    registers = int(re.search(r"Used (\d+) registers", log)[1])
    return Usage(registers, len(re.findall(r"\b(?:LDL|STL)\b", code)), _moves(code, "LD"), _moves(code, "ST"))


def disassembled(image: bytes) -> str:
    """The machine code (SASS) of a cubin as text."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(image)
        file.flush()
        return subprocess.run([disassembler(), "-c", file.name], capture_output=True, text=True, check=True).stdout


def disassembler() -> str:
    """NVIDIA's nvdisasm, from its wheel or the system. RuntimeError says how to get it."""
    wheels = sorted(Path(sysconfig.get_path("purelib")).glob("nvidia/*/bin/nvdisasm"))
    program = str(wheels[-1]) if wheels else shutil.which("nvdisasm")
    if program is None:
        raise RuntimeError("nvdisasm is not here; `pip install k2lib[kernels]` brings it")
    return program


def _moves(code: str, what: str) -> dict[int, int]:
    """Bytes -> count of the instructions LD and LDG, or ST and STG; one that states no size moves four bytes."""
    found = [re.search(r"\.[US]?(8|16|64|128)\b", each) for each in re.findall(rf"\b{what}G?\.[A-Z0-9.]+", code)]
    return dict(sorted(Counter(int(size[1]) // 8 if size else 4 for size in found).items()))


def _flags(arch: str) -> list[str]:
    return [f"-arch={arch}", "-std=c++17", "-lineinfo", "-fmad=false", *source.headers()]


@contextmanager
def _program(text: str, name: str, kernel: str, flags: list[str]) -> Iterator[ctypes.c_void_p]:
    """A compiled program. RuntimeError with NVRTC's messages if it does not compile."""
    lib, program = library(), ctypes.c_void_p()
    _check(lib.nvrtcCreateProgram(ctypes.byref(program), text.encode(), f"{name}.cu".encode(), 0, None, None))
    try:
        _check(lib.nvrtcAddNameExpression(program, kernel.encode()))
        options = (ctypes.c_char_p * len(flags))(*(flag.encode() for flag in flags))
        if lib.nvrtcCompileProgram(program, len(flags), options):
            raise RuntimeError(_bytes(program, "ProgramLog").decode(errors="replace").strip("\0\n"))
        yield program
    finally:
        lib.nvrtcDestroyProgram(ctypes.byref(program))


def _bytes(program: ctypes.c_void_p, what: str) -> bytes:
    size, lib = ctypes.c_size_t(), library()
    _check(getattr(lib, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _check(getattr(lib, f"nvrtcGet{what}")(program, buffer))
    return buffer.raw


def _check(status: int) -> None:
    if status:
        library().nvrtcGetErrorString.restype = ctypes.c_char_p
        raise RuntimeError(f"NVRTC: {library().nvrtcGetErrorString(status).decode()}")


def _version() -> str:
    major, minor = ctypes.c_int(), ctypes.c_int()
    _check(library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
    return f"{major.value}.{minor.value}"


@functools.cache
def library() -> ctypes.CDLL:
    """libnvrtc, from NVIDIA's wheel or the system. RuntimeError says how to get it."""
    wheels = sorted(Path(sysconfig.get_path("purelib")).glob("nvidia/*/lib/libnvrtc.so.*"))
    for name in [*wheels, Path("libnvrtc.so.13"), Path("libnvrtc.so")]:
        try:
            for builtins in name.parent.glob("libnvrtc-builtins.so.*"):
                ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)  # it looks for them by name, not beside itself
            return ctypes.CDLL(str(name))
        except OSError:
            continue
    raise RuntimeError("NVRTC is not here; `pip install k2lib[kernels]` brings it")

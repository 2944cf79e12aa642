"""Kernels to machine code by NVRTC, on any machine: compiling needs no GPU, only NVIDIA's library.

Not through CuPy's RawModule: it takes the architecture from the device and never compiles for sm_90a, and it adds -ftz=true.
"""

import ctypes
import functools
import sysconfig
from pathlib import Path

from k2lib.cuda import source


def cubin(name: str, kernel: str, arch: str) -> tuple[bytes, str]:
    """(machine code, mangled name) of one kernel of <name>.cu for an architecture such as "sm_90a".

    RuntimeError with NVRTC's messages (file, line) if it does not compile, or saying that NVRTC is not here.
    """
    flags = [f"-arch={arch}", "-std=c++17", "-lineinfo", "-fmad=false", *source.headers()]
    text = source.expand(name)

    def make(path: Path) -> None:
        path.write_bytes(_compile(text, f"{name}.cu", kernel, flags))

    made_from = [text, kernel, *flags, _version()]
    mangled, _, image = source.compiled(name, ".cubin", made_from, make).read_bytes().partition(b"\n")
    return image, mangled.decode()


def _compile(text: str, name: str, kernel: str, flags: list[str]) -> bytes:
    """The mangled name, a line feed, and the cubin."""
    lib, program = library(), ctypes.c_void_p()
    _check(lib.nvrtcCreateProgram(ctypes.byref(program), text.encode(), name.encode(), 0, None, None))
    try:
        _check(lib.nvrtcAddNameExpression(program, kernel.encode()))
        options = (ctypes.c_char_p * len(flags))(*(flag.encode() for flag in flags))
        if lib.nvrtcCompileProgram(program, len(flags), options):
            raise RuntimeError(_bytes(program, "ProgramLog").decode(errors="replace").strip("\0\n"))
        lowered = ctypes.c_char_p()
        _check(lib.nvrtcGetLoweredName(program, kernel.encode(), ctypes.byref(lowered)))
        return lowered.value + b"\n" + _bytes(program, "CUBIN")
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

"""One entry point of a .cu file, called with tensors and numbers; what can be wrong with a call is checked first.

Every scalar parameter of a kernel is a `long long` or a `float`, so a Python int or float says all: CuPy itself would pass a
float as double and check nothing. K2_CUDA_SYNC=1 waits after every launch, so that a fault names its kernel.
"""

import functools
import importlib.util
import os
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from k2lib import machine
from k2lib.cuda import nvrtc, simulator, source

ALIGNED = 16  # bytes: what the kernels' vector loads need
TYPES = {torch.bfloat16: "bf16", torch.float32: "float"}  # as the kernels' template arguments call them
Grid = tuple[int, ...]


@dataclass(frozen=True)
class Kernel:
    file: str  # kernels/<file>.cu
    name: str  # with its template arguments, such as "quantize_rows<bf16>"
    parameters: tuple[type, ...]  # Tensor, int or float, in order

    def __call__(self, grid: Grid, block: Grid, *arguments: Tensor | int | float, shared: int = 0) -> None:
        """Launches on the tensors' GPU and PyTorch's current stream. Nothing happens for an empty grid."""
        device = self._check(arguments)
        if 0 in grid:
            return
        if device.type != machine.GPU:
            raise ValueError(f"{self.name} runs on a GPU, its tensors are on {device}; `simulate` runs it here")
        if reason := missing():
            raise RuntimeError(reason)
        import cupy

        function = _function(self.file, self.name, device.index)
        if shared > 48 << 10:
            cupy.cuda.driver.funcSetAttribute(function.ptr, 8, shared)  # MAX_DYNAMIC_SHARED_SIZE_BYTES
        stream = cupy.cuda.ExternalStream(torch.cuda.current_stream(device).cuda_stream)
        with torch.cuda.device(device):
            function(grid, block, tuple(map(_value, arguments)), shared, stream)
            if os.environ.get("K2_CUDA_SYNC") == "1":
                self._wait()

    def simulate(
        self, grid: Grid, block: Grid, *arguments: Tensor | int | float, shared: int = 0, order: int = 1
    ) -> None:
        """Runs on the CPU, thread by thread. `order` is how far apart threads are that take turns, -1 backwards; 0 lets a
        warp run as far as it gets. A missing barrier shows in one of them.
        """
        device = self._check(arguments)
        if device != machine.HOST:
            raise ValueError(f"the simulator reads the host's memory, the tensors are on {device}")
        if 0 not in grid:
            simulator.launch(self.file, self.name, grid, block, list(map(_value, arguments)), shared, order)

    def _check(self, arguments: tuple) -> torch.device:
        kinds = " ".join(kind.__name__ for kind in self.parameters)
        pairs = list(zip(arguments, self.parameters, strict=False))
        wrong = any(isinstance(a, bool) or not isinstance(a, kind) for a, kind in pairs)
        if wrong or len(arguments) != len(self.parameters):
            given = " ".join(type(a).__name__ for a in arguments)
            raise TypeError(f"{self.name} takes {kinds}, got {given}")
        tensors = [a for a in arguments if isinstance(a, Tensor)]
        devices = {a.device for a in tensors}
        if len(devices) != 1:
            raise ValueError(f"{self.name}: tensors on {', '.join(sorted(map(str, devices)))}; move them to one device")
        for number, a in enumerate(tensors):
            if not a.is_contiguous():
                raise ValueError(f"{self.name}: tensor {number} of strides {a.stride()} is not contiguous")
            if a.data_ptr() % ALIGNED:
                raise ValueError(
                    f"{self.name}: tensor {number} does not start at a multiple of {ALIGNED} bytes; clone it"
                )
        return devices.pop()

    def _wait(self) -> None:
        try:
            torch.cuda.synchronize()
        except RuntimeError as error:
            raise RuntimeError(f"{self.name} of kernels/{self.file}.cu faulted: {error}") from error


@functools.cache
def missing() -> str | None:
    """Why no kernel can be launched in this environment, in a sentence; None if one can."""
    if not torch.cuda.is_available():
        return "PyTorch sees no GPU here; `Kernel.simulate` runs a kernel on the CPU"
    if importlib.util.find_spec("cupy") is None:
        return "CuPy, which launches the kernels, is not here; `pip install k2lib[cuda]` brings it"
    try:
        nvrtc.library()
        source.headers()
    except RuntimeError as error:
        return str(error)
    return None


def ready(x: Tensor) -> Tensor:
    """x as a kernel may read it: contiguous, from a multiple of 16 bytes on; a copy where it is not, as a slice may be."""
    x = x.contiguous()
    return x if x.data_ptr() % ALIGNED == 0 else x.clone()


def _value(argument: Tensor | int | float) -> np.generic:
    if isinstance(argument, Tensor):
        return np.uint64(argument.data_ptr())
    return np.int64(argument) if isinstance(argument, int) else np.float32(argument)


@functools.cache
def _function(file: str, name: str, device: int):
    import cupy

    major, minor = torch.cuda.get_device_capability(device)
    image, mangled = nvrtc.cubin(file, name, f"sm_{major}{minor}" + ("a" if major >= 9 else ""))
    with cupy.cuda.Device(device):
        module = cupy.cuda.function.Module()
        module.load(image)
        return module.get_function(mangled)

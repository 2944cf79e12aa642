"""What this machine is and does well, and so where the kit computes, in which precision, on how many threads.

The one file that names a device. Machines differ more than one expects: a bf16 product runs five times faster than an
fp32 one on a processor with matrix instructions for it, and sixty times slower on one without. So nothing is assumed:
`rates` times products and a copy once per boot, in less than a second, and `compute_dtype` chooses by what it found.

K2_DEVICE ("cuda:1", "cpu"), K2_DTYPE ("float32", "bfloat16") and K2_THREADS overrule what is found here.
"""

import contextlib
import functools
import hashlib
import json
import os
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

HOST = torch.device("cpu")
GPU = "cuda"  # the type of device that the raw kernels run on
FASTER = 1.3  # bf16 is used where its products are that much faster than fp32's; less does not pay for its rounding
DTYPES = ("float32", "bfloat16")
SMALL = 1 << 15  # values that a layer reads: with fewer, waking a second thread takes longer than its half of the work
SIZES = (256, 512, 1024)  # of the square products that are timed; a slow dtype never gets to the last
LARGER = (2048, 4096, 8192)  # what an accelerator needs until its products, and not their launches, take the time
PATIENCE = 0.03  # seconds for one product, after which no larger one is tried
COPIED = 1 << 26  # bytes: more than the caches of a processor hold …
COPIED_THERE = 1 << 30  # … and of an accelerator


@dataclass(frozen=True)
class Rates:
    """What one device does on the threads that will be used."""

    gflops: dict[str, float]  # dtype -> 1e9 FLOP/s of a dense product
    bandwidth: float  # 1e9 bytes/s read and written by a copy


def device() -> torch.device:
    """Where models live: $K2_DEVICE, else the first CUDA GPU, else the processor. ValueError for one that is not here."""
    wish = os.environ.get("K2_DEVICE")
    if not wish:
        return torch.device("cuda", 0) if torch.cuda.is_available() else HOST
    try:
        chosen = torch.device(wish)
    except RuntimeError:
        raise ValueError(
            f"K2_DEVICE is {wish!r}; set it to a PyTorch device such as cpu or cuda:0, or unset it"
        ) from None
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"K2_DEVICE is {wish!r}, but PyTorch sees {torch.cuda.device_count()} GPUs; unset it, or set cpu"
        )
    return chosen


def worker_device(rank: int, processes: int) -> torch.device:
    """The device of one of several processes on this machine: a GPU each where there are enough, else the processor."""
    if device().type == "cuda" and torch.cuda.device_count() >= processes:
        return torch.device("cuda", rank)
    return HOST


def collectives(where: torch.device) -> str:
    """The torch.distributed backend for tensors on `where`."""
    return "nccl" if where.type == "cuda" else "gloo"


def on_host(tensor: torch.Tensor) -> bool:
    """Whether the processor computes on it."""
    return tensor.device.type == HOST.type


def threads(most: int | None = None) -> int:
    """PyTorch's threads: $K2_THREADS, else $OMP_NUM_THREADS, else the physical cores of this process, `most` at most."""
    wish = next((name for name in ("K2_THREADS", "OMP_NUM_THREADS") if os.environ.get(name)), None)
    if wish is None:
        return min(cores(), most or cores())
    chosen = os.environ[wish]
    if not chosen.isdigit() or int(chosen) < 1:
        raise ValueError(f"{wish} is {chosen!r}; set it to a number of threads, such as 2, or unset it")
    return int(chosen)


@contextlib.contextmanager
def threads_for(values: int, where: torch.device) -> Iterator[None]:
    """One thread where a layer reads no more than `SMALL` values and the others sleep; else PyTorch's number."""
    before, asleep = torch.get_num_threads(), os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE"
    if before == 1 or where.type != "cpu" or values > SMALL or not asleep:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@functools.cache
def cores() -> int:
    """Physical cores this process may use: hyper-threads of one core count once, a container's share is respected."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    physical = {_core(cpu) for cpu in allowed}
    return max(1, min(len(physical), _share()))


def compute_dtype(where: torch.device | None = None) -> str:
    """The dtype of matrix products on a device: $K2_DTYPE, else "bfloat16" where it is measurably faster, else "float32"."""
    wish = os.environ.get("K2_DTYPE", "auto")
    if wish in DTYPES:
        return wish
    if wish != "auto":
        raise ValueError(f"K2_DTYPE is {wish!r}; set it to float32, bfloat16 or auto, or unset it")
    found = rates(where or device()).gflops
    return "bfloat16" if found["bfloat16"] >= FASTER * found["float32"] else "float32"


@contextlib.contextmanager
def computing_in(dtype: str) -> Iterator[None]:
    """As if K2_DTYPE were `dtype`, for a while."""
    before = os.environ.get("K2_DTYPE")
    os.environ["K2_DTYPE"] = dtype
    try:
        yield
    finally:
        os.environ.pop("K2_DTYPE")
        os.environ |= {} if before is None else {"K2_DTYPE": before}


def precision(where: torch.device, dtype: str = "auto") -> contextlib.AbstractContextManager:
    """Products in `dtype` (autocast; weights stay as they are) on a device; "auto" is `compute_dtype(where)`."""
    chosen = compute_dtype(where) if dtype == "auto" else dtype
    if chosen not in DTYPES:
        raise ValueError(f"compute dtype {chosen!r} is not supported; choose 'auto', 'float32' or 'bfloat16'")
    if chosen == "float32" or not torch.amp.is_autocast_available(where.type):
        return contextlib.nullcontext()
    return torch.autocast(where.type, torch.bfloat16)


def full_precision(where: torch.device) -> contextlib.AbstractContextManager:
    """Products in the dtype of their factors, also inside `precision`."""
    available = torch.amp.is_autocast_available(where.type)
    return torch.autocast(where.type, enabled=False) if available else contextlib.nullcontext()


def capturing() -> bool:
    """Whether a CUDA graph is being captured, in which nothing may wait for the device."""
    return torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()


def arithmetic() -> dict[str, str]:
    """What decides the last bits of a result and so belongs in its key: the kind of device and the dtype."""
    where = device()
    return {"device": where.type, "dtype": compute_dtype(where)}


@torch.compiler.disable
def rates(where: torch.device, used_threads: int | None = None) -> Rates:
    """What a device does on so many threads (PyTorch's present number).

    Measured by the first who asks after a boot, read from ~/.cache/k2lib by everybody after.
    """
    return _rates(torch.device(where.type, where.index), used_threads or torch.get_num_threads())


@functools.cache
def _rates(where: torch.device, used_threads: int) -> Rates:
    if where.type == "meta":
        return Rates(dict.fromkeys(DTYPES, float("inf")), float("inf"))
    identity = [_boot(), torch.__version__, name(), device_name(where), cores(), used_threads]
    file = _cache_folder() / f"machine-{hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:12]}.json"
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Rates(**json.loads(file.read_text()))
    found = measure(where, used_threads)
    with contextlib.suppress(OSError):  # a home that cannot be written costs a measurement a process, no more
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(asdict(found)))
        temporary.replace(file)
    return found


def measure(where: torch.device, used_threads: int) -> Rates:
    """Times products and a copy on a device, each kept at its best, since other work only ever slows them down."""
    before = torch.get_num_threads()
    torch.set_num_threads(used_threads)
    try:
        copied = COPIED if where.type == HOST.type else COPIED_THERE
        source = torch.ones(copied, dtype=torch.uint8, device=where)
        target = torch.empty_like(source)
        copy = _best(lambda: target.copy_(source), where)
        return Rates({dtype: _product_rate(getattr(torch, dtype), where) for dtype in DTYPES}, 2e-9 * copied / copy)
    finally:
        torch.set_num_threads(before)


def _product_rate(dtype: torch.dtype, where: torch.device) -> float:
    """1e9 FLOP/s of the best square product, smallest first."""
    best = 0.0
    for size in SIZES if where.type == HOST.type else SIZES + LARGER:
        factor = torch.randn(size, size, device=where).to(dtype)
        seconds = _best(lambda x=factor: x @ x, where)
        best = max(best, 2e-9 * size**3 / seconds)
        if seconds > PATIENCE:
            break
    return best


def _best(work, where: torch.device) -> float:
    """Seconds of the shortest of a few runs of `work`, of which the first warms up; a slow one runs twice only."""
    times: list[float] = []
    while len(times) < 2 or (sum(times) < 2 * PATIENCE and len(times) < 50):
        start = time.perf_counter()
        work()
        if where.type != HOST.type:
            torch.accelerator.synchronize(where)
        times.append(time.perf_counter() - start)
    return min(times[1:])


def record() -> dict:
    """One JSON object for a result: processor, cores, threads, device, dtype and what was measured of them."""
    where = device()
    return {
        "processor": name(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "device": device_name(where),
        "dtype": compute_dtype(where),
        **{key: _rounded(value) for key, value in asdict(rates(where)).items()},
    }


@functools.cache
def name() -> str:
    """The processor, such as "AMD EPYC 9R14"."""
    found = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1] for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        found = names[0] if names else found
    for noise in ("(R)", "(TM)", "(tm)", "CPU", "Processor"):
        found = found.replace(noise, " ")
    return " ".join(found.split("@")[0].split())


def device_name(where: torch.device) -> str:
    """The GPU's name, or "CPU", or what PyTorch calls the device."""
    if where.type == "cuda":
        return torch.cuda.get_device_name(where)
    return "CPU" if where.type == HOST.type else str(where)


def _core(cpu: int) -> tuple:
    """(package, core) of a logical processor, or the processor itself where the system does not tell."""
    topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
    try:
        return tuple((topology / part).read_text().strip() for part in ("physical_package_id", "core_id"))
    except OSError:
        return (cpu,)


def _share() -> int:
    """Processors that a container's quota amounts to, rounded up; many where there is none."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, -(-int(quota) // int(period)))
    except (OSError, ValueError):
        return 1 << 16


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return (
            f"{(time.time() - time.monotonic()) / 600:.0f}"  # systems without an id: the minute, roughly, of the start
        )


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "k2lib"


def _rounded(value):
    return {k: _rounded(v) for k, v in value.items()} if isinstance(value, dict) else float(f"{value:.3g}")

"""Notebook 00: the machine that everything was measured on."""

from k2lib import machine
from k2lib.profiles import Profile
from k2lib.progress import Progress
from k2lib.report.provenance import versions


def measured_on(profile: Profile, _seed: int, _progress: Progress) -> dict[str, str]:
    """What the machine is, what it does in a second, where and how the kit computes on it, and the versions."""
    found = machine.record()
    pace = ", ".join(f"{found['gflops'][dtype]:.0f} in {dtype}" for dtype in machine.DTYPES)
    return {
        "processor": f"{found['processor']}, {found['cores']} cores, {found['threads']} threads used",
        "device": found["device"],
        "dense products": f"{pace} (GFLOP/s, measured)",
        "memory": f"{found['bandwidth']:.0f} GB/s (a copy, measured)",
        "so products run in": found["dtype"],
        "profile": profile.name,
    } | versions()

"""The walls: what bubblewrap is told. New namespaces of every kind, no capability, a read-only /usr and small file systems in memory."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from k2lib.sandbox.languages import SYSTEM
from k2lib.sandbox.limits import Limits

HOME = "/tmp/work"  # where a program runs and its files lie
NOBODY = 65534
MEGABYTE = 1 << 20
SHARED = 16 * MEGABYTE  # of /dev/shm, where semaphores live
ALONE = (
    f"--unshare-all --unshare-user --disable-userns --new-session --die-with-parent --uid {NOBODY} --gid {NOBODY} "
    "--cap-drop ALL --hostname sandbox"
).split()
ENVIRONMENT = (
    f"--clearenv --setenv PATH /usr/local/bin:/usr/bin:/bin --setenv HOME {HOME} --setenv LANG C.UTF-8".split()
)
LINKS = ("bin", "sbin", "lib", "lib32", "lib64")  # into /usr on most systems, folders of their own on some


def nobody() -> list[str]:
    """What comes before the walls: root becomes nobody for good; any other user stays itself."""
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv") or "setpriv"
    return [setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"]


def walls(limits: Limits, folders: Iterable[Path], data: dict[str, int], seccomp: int, status: int | None) -> list[str]:
    """The command up to the program's own.

    `folders` of the host can be read beside /usr; `data` are the files that it finds, each an open descriptor with the contents, as is
    the filter of calls; bubblewrap tells its news to `status`.
    """
    out = [shutil.which("bwrap") or "bwrap", *ALONE, *ENVIRONMENT, "--ro-bind", str(SYSTEM), str(SYSTEM), *_links()]
    out += f"--proc /proc --dev /dev --size {limits.files_mb * MEGABYTE} --tmpfs /tmp --dir {HOME}".split()
    for folder in folders:  # after /tmp, which one of them may lie in
        out += ["--ro-bind", str(folder), str(folder)]
    for path, descriptor in data.items():
        out += ["--file", str(descriptor), f"{HOME}/{path}"]
    out += f"--size {SHARED} --tmpfs /dev/shm --remount-ro /dev --remount-ro /".split()
    out += ["--json-status-fd", str(status)] if status is not None else []
    return [*out, "--chdir", HOME, "--seccomp", str(seccomp), "--", *_meters(limits)]


def _links() -> list[str]:
    out = []
    for name in LINKS:
        there = Path("/") / name
        if there.is_symlink():
            out += ["--symlink", str(there.readlink()), str(there)]
        elif there.is_dir():
            out += ["--ro-bind", str(there), str(there)]
    return out


def _meters(limits: Limits) -> list[str]:
    """Limits of each process. Set inside, where the count of processes is the sandbox's own.

    A program may ignore the first signal of the CPU's limit, not the second. Addresses are reserved by the gigabyte and not used, so
    they get four times the memory, which is watched from outside.
    """
    cpu, addresses = limits.cpu_seconds, 4 * limits.memory_mb * MEGABYTE
    line = f"/usr/bin/prlimit --cpu={cpu}:{cpu + 1} --as={addresses} --nproc={limits.processes} --core=0"
    line += f" --fsize={limits.files_mb * MEGABYTE} --nofile={limits.open_files} --stack={8 * MEGABYTE} --"
    return line.split()

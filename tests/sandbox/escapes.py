"""Programs that try to get out, or to use up what is not theirs. One that reaches its aim prints REACHED; `ends` is how it may end."""

from dataclasses import dataclass

ANY = ("ok", "error")


@dataclass(frozen=True)
class Hostile:
    name: str
    code: str
    ends: tuple[str, ...] = ANY
    waits: bool = False  # for nothing, so that only the clock on the wall ends it


def opens(path: str, mode: str = "r") -> str:
    return f"try:\n    open({path!r}, {mode!r})\n    print('REACHED')\nexcept OSError as error: print(error)"


def calls(number: str, *arguments: str) -> str:
    """A system call by its number on x86-64, of which nothing but EPERM or ENOSYS may come."""
    return (
        "import ctypes, errno\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        f"got = libc.syscall({number}, {', '.join(arguments) or '0, 0, 0'})\n"
        "if got != -1 or ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS): print('REACHED', got, ctypes.get_errno())"
    )


def commands(line: str) -> str:
    return f"import subprocess\nprint(subprocess.run({line!r}, shell=True, capture_output=True, text=True).stdout)"


def connects(family: str, kind: str = "SOCK_STREAM", then: str = "") -> str:
    return (
        f"import socket\ntry:\n    s = socket.socket(socket.{family}, socket.{kind})\n    s.settimeout(1)\n    {then or 'pass'}\n"
        "    print('REACHED')\nexcept OSError as error: print(error)"
    )


GRABS = """
import os, time
for _ in range(6):
    if os.fork() == 0:
        held = bytearray(150 << 20)
        held[::4096] = b"x" * len(held[::4096])
        time.sleep(60)
time.sleep(60)
"""
DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: time.sleep(3600)
    os._exit(0)
print("left")
"""
DEAF = "import signal, time\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError): pass\n"
FILLS = """
with open("{path}", "wb", buffering=0) as file:
    for _ in range(2000):
        if file.write(b"x" * (1 << 20)) != 1 << 20: break
    else: print("REACHED")
"""
INT80 = """
import ctypes, mmap
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20 (getpid); int 0x80; ret
call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
print("REACHED", call())
"""
KILLS = """
import os, signal
try: os.kill(-1, signal.SIGKILL); print("alone")
except OSError as error: print(error)
"""
FDS = """
import os
try:
    for _ in range(5000): os.dup(0)
    print("REACHED")
except OSError as error: print(error)
"""
THREADS = """
import threading, time
for _ in range(3000): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()
print("REACHED")
"""
TYPES = """
import fcntl, termios
try:
    fcntl.ioctl(open("/dev/tty", "w"), termios.TIOCSTI, b"x")
    print("REACHED")
except OSError as error: print(error)
"""

PROGRAMS = [
    Hostile("fork bomb", "import os\nwhile True: os.fork()", ("error", "timeout", "memory")),
    Hostile("threads", THREADS),
    Hostile("3 GB in one process", "held = bytearray(3 << 30)\nprint('REACHED')", ("memory",)),
    Hostile("many processes that share the memory out", GRABS, ("memory",)),
    Hostile("endless loop", "while True: pass", ("timeout",)),
    Hostile("a regex that explodes", "import re\nre.match(r'(a+)+$', 'a' * 60 + 'b')", ("timeout",)),
    Hostile("a number with millions of digits", "import sys\nsys.set_int_max_str_digits(0)\nstr(7 ** 10 ** 8)", ("timeout",)),
    Hostile("sleep", "import time\ntime.sleep(3600)", ("timeout",), waits=True),
    Hostile("deaf to every signal", DEAF + "while True: pass", ("timeout",)),
    Hostile("a daemon of its own session", DAEMON, ("ok",)),
    Hostile("closed outputs", "import os, time\nos.close(1), os.close(2)\ntime.sleep(3600)", ("timeout",), waits=True),
    Hostile("endless output", "while True: print('x' * 1000)", ("output",)),
    Hostile("one line of 10 MB", "print('x' * 10_000_000)", ("output",)),
    Hostile("endless complaint", "import sys\nwhile True: print('x' * 1000, file=sys.stderr)", ("output",)),
    Hostile("a full /tmp", FILLS.format(path="/tmp/full"), ("ok", "error")),
    Hostile("a full /dev/shm", FILLS.format(path="/dev/shm/full"), ("error",)),
    Hostile("millions of files", "n = 0\nwhile True:\n    open(str(n), 'w').close()\n    n += 1", ("memory", "timeout")),
    Hostile("a sparse file of 32 TB", "open('big', 'wb').truncate(32 << 40)\nprint('REACHED')", ("error",)),
    Hostile("files without a name", calls("319", "b'x'", "0")),
    Hostile("descriptors", FDS),
    Hostile("TCP", connects("AF_INET", then="s.connect(('1.1.1.1', 443))")),
    Hostile("UDP", connects("AF_INET", "SOCK_DGRAM", "s.sendto(b'x', ('8.8.8.8', 53))")),
    Hostile("names", "import socket\ntry: print('REACHED', socket.gethostbyname('example.com'))\nexcept OSError as e: print(e)"),
    Hostile("the hypervisor's sockets", connects("AF_VSOCK")),
    Hostile("packets", connects("AF_PACKET", "SOCK_RAW")),
    Hostile("the kernel's sockets", connects("AF_NETLINK", "SOCK_RAW")),
    Hostile("the kernel's ciphers", connects("AF_ALG", "SOCK_SEQPACKET")),
    *(Hostile(path, opens(path)) for path in ("/etc/passwd", "/etc/shadow", "/root/.bashrc", "/proc/1/root/etc/passwd", "/dev/mem")),
    *(Hostile(f"write {path}", opens(path, "a")) for path in ("/usr/x", "/x", "/etc/x", "/dev/x", "/proc/sysrq-trigger")),
    *(Hostile(f"write {path}", opens(path, "r+")) for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname")),
    Hostile("host's processes", "import os\nif len([p for p in os.listdir('/proc') if p.isdigit()]) > 4: print('REACHED')"),
    Hostile("another's environment", "if b'SECRET' in open('/proc/1/environ', 'rb').read(): print('REACHED')"),
    Hostile("kill them all", KILLS, ("ok", "error")),
    Hostile("su", commands("su -c 'echo REACHED'")),
    Hostile("root by call", "import os\ntry:\n    os.setuid(0)\n    print('REACHED')\nexcept OSError as e: print(e)"),
    Hostile("namespaces by command", commands("unshare -U echo REACHED")),
    Hostile("a sandbox inside", commands("bwrap --ro-bind / / --unshare-user echo REACHED")),
    Hostile("a terminal's input", TYPES),
    Hostile("segmentation fault", "import ctypes\nctypes.string_at(0)", ("error",)),
    Hostile("endless recursion", "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(): f()\nf()", ("error", "memory", "timeout")),
    Hostile("100,000 brackets", "compile('(' * 100_000, 'x', 'eval')", ("error", "memory", "output")),
]  # fmt: skip
X86 = [
    Hostile("32-bit calls", INT80, ("policy",)),
    *(
        Hostile(name, calls(*call))
        for name, *call in [
            ("ptrace", "101", "0, 1, 0, 0"),
            ("read another process", "310", "1, 0, 0, 0, 0, 0"),
            ("io_uring", "425", "8, 0"),
            ("bpf", "321", "0, 0, 0"),
            ("keyrings", "250", "0, 0, 0"),
            ("userfaultfd", "323", "0"),
            ("perf", "298", "0, 0, -1, -1, 0"),
            ("open by handle", "304", "-100, 0, 0"),
            ("mount", "165", "b'none', b'/tmp', b'tmpfs', 0, 0"),
            ("a user namespace", "272", "0x10000000"),
            ("a mount namespace by clone", "56", "0x20011, 0, 0, 0, 0"),
            ("clone3", "435", "0, 0"),
            ("another root", "161", "b'/tmp'"),
            ("kernel modules", "313", "0, b'', 0"),
        ]
    ),
]

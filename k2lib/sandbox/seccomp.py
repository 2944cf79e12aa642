"""The system calls that a program in the sandbox may not make, as a filter that the kernel enforces.

A list of what is refused, not of what is allowed: namespaces and dropped capabilities are the wall, this keeps calls away from
kernel code that no program under test needs and that has been broken before. Sockets are the other way round: only the
families that an empty network namespace makes harmless are allowed.
"""

import errno
import functools
import socket
import tempfile

REFUSED = """
    ptrace process_vm_readv process_vm_writev kcmp pidfd_getfd perf_event_open
    mount umount2 pivot_root chroot open_tree move_mount fsopen fsconfig fsmount fspick mount_setattr
    unshare setns bpf userfaultfd io_uring_setup io_uring_enter io_uring_register
    add_key request_key keyctl name_to_handle_at open_by_handle_at fanotify_init
    init_module finit_module delete_module kexec_load kexec_file_load reboot swapon swapoff acct quotactl syslog
    settimeofday clock_settime clock_adjtime adjtimex iopl ioperm modify_ldt vhangup lookup_dcookie personality
    mbind set_mempolicy migrate_pages move_pages memfd_create memfd_secret landlock_create_ruleset
""".split()
FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)
NAMESPACES = (0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)  # CLONE_NEW*
LAST_FAMILY = 63  # the kernel has 46; whatever lies above is refused in one rule


@functools.cache
def compiled() -> bytes:
    """The filter as BPF, for `bwrap --seccomp`. ImportError or OSError where libseccomp is not."""
    import pyseccomp as sc

    rules = sc.SyscallFilter(sc.ALLOW)
    rules.set_attr(sc.Attr.ACT_BADARCH, sc.KILL_PROCESS)  # 32-bit calls from a 64-bit program
    refused = sc.ERRNO(errno.EPERM)
    for name in REFUSED:
        number = _number(sc, name)
        if number is not None:
            rules.add_rule(refused, number)
    # its flags lie in memory, out of a filter's sight; libc takes clone
    rules.add_rule(sc.ERRNO(errno.ENOSYS), "clone3")
    for flag in NAMESPACES:
        rules.add_rule(refused, "clone", sc.Arg(0, sc.MASKED_EQ, flag, flag))
    for family in range(LAST_FAMILY + 1):
        if family not in FAMILIES:
            rules.add_rule(refused, "socket", sc.Arg(0, sc.EQ, family))
    rules.add_rule(refused, "socket", sc.Arg(0, sc.GT, LAST_FAMILY))
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


def _number(sc, name: str) -> int | None:
    """A call's number; None for one that this processor's kernels do not have."""
    try:
        number = sc.resolve_syscall(sc.Arch.NATIVE, name)
    except OSError:
        return None
    return number if number >= 0 else None  # libseccomp's own numbers for calls of other processors are negative

"""The system calls that a process which serves strangers gives up irrevocably: seccomp(2).

It is a list of what no such process ever does, so that the kernel behind these calls cannot be
attacked from it: programs and processes, tracing, mounts and namespaces, modules, BPF, keys,
users, clocks, and sockets of other families than IP and netlink.  Of UNIX sockets there are
datagrams only, which if_indextoname(3) uses: by another, a process of the daemon's own user could
command its control socket.  Descriptors that are open stay usable.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO

# The columns of the tables below: x86_64, and what newer architectures have in common.
_ARCHITECTURES = {
    "x86_64": (0xC000003E, 0),
    "aarch64": (0xC00000B7, 1),
    "riscv64": (0xC00000F3, 1),
    "loongarch64": (0xC0000102, 1),
}
"""Of each machine, the AUDIT_ARCH of linux/audit.h and its column."""
_X32 = 0x40000000  # asm/unistd.h: a second set of numbers on x86_64

DENIED: dict[str, tuple[int, int]] = {
    # other programs and processes
    "execve": (59, 221),
    "execveat": (322, 281),
    "fork": (57, -1),
    "vfork": (58, -1),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # mounts, namespaces, files by other ways than their path
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mknod": (133, -1),
    "mknodat": (259, 33),
    "fanotify_init": (300, 262),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "quotactl": (179, 60),
    "acct": (163, 89),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    # the kernel itself; libuv tries io_uring, and does without
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "personality": (135, 92),
    "modify_ldt": (154, -1),
    "iopl": (172, -1),
    "ioperm": (173, -1),
    "syslog": (103, 116),
    "vhangup": (153, 58),
    # who it is, and the clock
    "setuid": (105, 146),
    "setgid": (106, 144),
    "setreuid": (113, 145),
    "setregid": (114, 143),
    "setresuid": (117, 147),
    "setresgid": (119, 149),
    "setgroups": (116, 159),
    "setfsuid": (122, 151),
    "setfsgid": (123, 152),
    "capset": (126, 91),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
}
"""The numbers of the system calls that are refused with EPERM; -1 where there is none."""
SOCKET, CLONE, CLONE3 = (41, 198), (56, 220), (435, 435)
_FAMILIES = (2, 10, 16)  # AF_INET, AF_INET6, AF_NETLINK
_UNIX, _DATAGRAM, _TYPE = 1, 2, 0xF  # AF_UNIX, SOCK_DGRAM, SOCK_TYPE_MASK
_CLONE_THREAD = 0x10000
BPF = "bpf"
MAP_COMMANDS = (1, 2, 3, 4, 24, 25, 26, 27)
"""Of linux/bpf.h: look up, update and delete an element, get the next key, and batches of these."""

# struct sock_filter, and the instructions of linux/bpf_common.h that are used.
_INSTRUCTION = struct.Struct("=HBBI")
_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_SET = 0x15, 0x35, 0x45
_NUMBER, _ARCH = 0, 4  # offsets in struct seccomp_data
_FIRST_ARGUMENT = 16 if sys.byteorder == "little" else 20  # its low half
_SECOND_ARGUMENT = _FIRST_ARGUMENT + 8


def give_up(*, uses_maps: bool = False) -> bool:
    """Refuse this thread, and those it starts, the system calls that it never makes.

    If it *uses_maps* of BPF, the commands for their elements are not refused.  The caller must have
    set no_new_privs.  Returns False where the kernel has no seccomp filters,
    or this module no numbers for the machine.  Raises OSError.
    """
    program = _program(platform.machine(), struct.calcsize("P") * 8, uses_maps=uses_maps)
    if not program:
        return False
    buffer = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("@HP", len(program) // _INSTRUCTION.size, ctypes.addressof(buffer))
    arguments = map(ctypes.c_ulong, (_SECCOMP_MODE_FILTER,))
    if _LIBC.prctl(_PR_SET_SECCOMP, *arguments, head, ctypes.c_ulong(0), ctypes.c_ulong(0)) < 0:
        number = ctypes.get_errno()
        if number in (errno.EINVAL, errno.ENOSYS):
            return False
        raise OSError(number, os.strerror(number))
    return True


def _program(machine: str, bits: int, *, uses_maps: bool = False) -> bytes:
    """Return the filter for a process of *bits* (32 or 64) on a *machine*; empty where it is not
    known.

    The system calls of a process of 32 bits have other numbers, on a kernel of 64 bits as well.
    """
    if machine not in _ARCHITECTURES or bits != 64:
        return b""
    arch, column = _ARCHITECTURES[machine]
    denied = {name: each[column] for name, each in DENIED.items()}
    bpf = denied.pop(BPF) if uses_maps else -1
    numbers = sorted(number for number in denied.values() if number >= 0)
    refused = _INSTRUCTION.pack(_RETURN, 0, 0, _REFUSE | errno.EPERM)
    allowed = _INSTRUCTION.pack(_RETURN, 0, 0, _ALLOW)
    absent = _INSTRUCTION.pack(_RETURN, 0, 0, _REFUSE | errno.ENOSYS)
    argument = _INSTRUCTION.pack(_LOAD, 0, 0, _FIRST_ARGUMENT)
    unix = (
        _INSTRUCTION.pack(_LOAD, 0, 0, _SECOND_ARGUMENT),
        _INSTRUCTION.pack(_AND, 0, 0, _TYPE),
        _if(_JUMP_EQUAL, _DATAGRAM, allowed),
        refused,
    )
    families = [_if(_JUMP_EQUAL, family, allowed) for family in _FAMILIES]
    sockets = b"".join((argument, *families, _if(_JUMP_EQUAL, _UNIX, b"".join(unix)), refused))
    elements = [_if(_JUMP_EQUAL, command, allowed) for command in MAP_COMMANDS]
    return b"".join(
        (
            # The numbers of another architecture, or of x32, mean other calls.
            _INSTRUCTION.pack(_LOAD, 0, 0, _ARCH),
            _INSTRUCTION.pack(_JUMP_EQUAL, 1, 0, arch),
            refused,
            _INSTRUCTION.pack(_LOAD, 0, 0, _NUMBER),
            _if(_JUMP_GREATER_EQUAL, _X32, refused),
            *(_if(_JUMP_EQUAL, number, refused) for number in numbers),
            _if(_JUMP_EQUAL, bpf, b"".join((argument, *elements, refused))) if uses_maps else b"",
            # Its flags are in memory, where a filter cannot look; glibc uses clone(2) then.
            _if(_JUMP_EQUAL, CLONE3[column], absent),
            _if(
                _JUMP_EQUAL,
                CLONE[column],
                argument + _if(_JUMP_SET, _CLONE_THREAD, allowed) + refused,
            ),
            _if(_JUMP_EQUAL, SOCKET[column], sockets),
            allowed,
        )
    )


def _if(jump: int, value: int, block: bytes) -> bytes:
    """Return *block* behind a *jump* over it where the comparison with *value* fails."""
    return _INSTRUCTION.pack(jump, 0, len(block) // _INSTRUCTION.size, value) + block


_LIBC = ctypes.CDLL(None, use_errno=True)

"""Capabilities: which are effective, the error when one is missing, and dropping them.

See capabilities(7).  All of this applies to the calling thread.
"""

from __future__ import annotations

import ctypes
import errno
import os
import pwd
import struct
from typing import TYPE_CHECKING, NamedTuple

from faith.errors import ConfigError, PermissionNeeded, SetupError
from faith.kernel import text_file

if TYPE_CHECKING:
    from collections.abc import Iterable

# In the order of their numbers (linux/capability.h).
_NAMES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)

_PR_SET_KEEPCAPS = 8
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_CAPABILITY_VERSION_3 = 0x20080522


class Dropped(NamedTuple):
    """The result of `drop`: the user and group this process runs as, and its capabilities."""

    uid: int
    gid: int
    kept: frozenset[str]


def effective() -> frozenset[str]:
    """Return the names (``CAP_…``) of the effective capabilities of this thread."""
    return _names(_status("CapEff"))


def require(step: str, *names: str) -> None:
    """Raise PermissionNeeded for *step* naming the capabilities of *names* that are not
    effective."""
    held = effective()
    if missing := [name for name in names if name not in held]:
        raise PermissionNeeded(step, *missing)


def refusal(step: str, error: OSError, *names: str) -> SetupError:
    """Return the error for *step*, which needs the capabilities *names* and failed with *error*.

    It is PermissionNeeded, naming the missing ones, when their absence is the cause.
    """
    reason = error.strerror or str(error)
    if error.errno != errno.EPERM:
        return SetupError(step, reason)
    try:
        require(step, *names)
    except PermissionNeeded as needed:
        return needed
    return SetupError(
        step,
        f"{reason}, with {' and '.join(names)} held",
        "a user namespace, a container's system call filter or kernel lockdown can be the cause",
    )


def drop(user: str, keep: Iterable[str] = ()) -> Dropped:
    """Become *user* irrevocably, with no supplementary group and no capability but those in *keep*.

    Neither a set-user-ID program nor file capabilities restore any afterwards.  A process that is
    not root keeps its user, and so does the root of a user namespace that does not map *user*; both
    lose their capabilities all the same.  Call it while there is one thread only.

    Raises ConfigError for an unknown user, PermissionNeeded when root lacks CAP_SETUID or
    CAP_SETGID or when a capability in *keep* is not held, and SetupError when privileges turn out
    to remain: the process must then end.
    """
    kept = frozenset(keep)
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise ConfigError(f"there is no user {user!r} on this system") from None
    require(f"keep capabilities as {user}", *sorted(kept))
    _clear_bounds()
    if os.geteuid() == 0 and _exists_here(entry.pw_uid, entry.pw_gid):
        _become(user, entry.pw_uid, entry.pw_gid)
    _set_capabilities(_mask(kept))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _verify(user, kept)
    return Dropped(os.getuid(), os.getgid(), kept)


def _clear_bounds() -> None:
    """Empty the ambient and bounding sets, from which executed programs could gain capabilities."""
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    if "CAP_SETPCAP" in effective():  # without it no_new_privs alone has to do, and does
        for number in range(_last_capability() + 1):
            _prctl(_PR_CAPBSET_DROP, number)


def _become(user: str, uid: int, gid: int) -> None:
    require(f"become {user}", "CAP_SETGID", "CAP_SETUID")
    _prctl(_PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    _prctl(_PR_SET_KEEPCAPS, 0)


def _exists_here(uid: int, gid: int) -> bool:
    """Return whether this user namespace maps both and allows setgroups(2) (user_namespaces(7))."""
    return (
        _mapped(uid, "uid_map")
        and _mapped(gid, "gid_map")
        and text_file.read_proc("/proc/thread-self/setgroups").strip() != "deny"
    )


def _mapped(number: int, table: str) -> bool:
    for line in text_file.read_proc(f"/proc/thread-self/{table}").splitlines():
        first, _, count = map(int, line.split())
        if first <= number < first + count:
            return True
    return False


def _set_capabilities(mask: int) -> None:
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    _check(_LIBC.capset(header, struct.pack("=6I", low, low, 0, high, high, 0)))


def _verify(user: str, kept: frozenset[str]) -> None:
    step = f"drop privileges to {user}"
    for name in ("CapEff", "CapPrm"):
        if extra := _names(_status(name)) ^ kept:
            raise SetupError(step, f"the {name} set is off by {', '.join(sorted(extra))}")
    if os.getuid() != 0 and _can_be_root():
        raise SetupError(step, "the process could become root again")


def _can_be_root() -> bool:
    try:
        os.setresuid(0, 0, 0)
    except OSError:
        return False
    return True


def _status(field: str) -> int:
    """Return a set of capabilities in /proc as a mask."""
    for line in text_file.read_proc("/proc/thread-self/status").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value, 16)
    raise SetupError("read capabilities", f"/proc/thread-self/status has no {field}")


def _names(mask: int) -> frozenset[str]:
    numbers = (number for number in range(mask.bit_length()) if mask >> number & 1)
    return frozenset(_NAMES[n] if n < len(_NAMES) else f"CAP_{n}" for n in numbers)


def _mask(names: Iterable[str]) -> int:
    return sum(1 << _NAMES.index(name) for name in names)


def _last_capability() -> int:
    return int(text_file.read_proc("/proc/sys/kernel/cap_last_cap"))


def _prctl(option: int, argument: int) -> None:
    _check(_LIBC.prctl(option, *map(ctypes.c_ulong, (argument, 0, 0, 0))))


def _check(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


_LIBC = ctypes.CDLL(None, use_errno=True)

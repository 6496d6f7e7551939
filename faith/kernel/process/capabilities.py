"""Users and capabilities: which are effective, the error when one is missing, and dropping them.

See capabilities(7).  All of this applies to the calling thread.
"""

from __future__ import annotations

import ctypes
import errno
import os
import pwd
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from faith.errors import ConfigError, FaithError, PermissionNeeded, SetupError
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

_PR_SET_DUMPABLE = 4
_PR_SET_KEEPCAPS = 8
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_CAPABILITY_VERSION_3 = 0x20080522

DEFAULT_USERS = ("faith", "nobody")
"""The users of whom the first that exists is the default, where this process can become others."""
BECOMING = ("CAP_SETGID", "CAP_SETUID")
"""The capabilities that becoming another user takes."""


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


def default_user() -> str:
    """Return the user that unprivileged processes have where the operator names none.

    That is the first of `DEFAULT_USERS` that there is, for root and whoever else can become it; for
    all others their own, by number where that has no name.
    """
    if os.geteuid() == 0 or effective().issuperset(BECOMING):
        for user in DEFAULT_USERS:
            with suppress(ConfigError):
                if _exists_here(*_numbers(user)):
                    return user
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def check_user(user: str) -> tuple[int, int]:
    """Return the number and the group of *user*, whom this process can become, or is.

    *user* is a name, or the number of this process's own.  Raises ConfigError for an unknown user,
    PermissionNeeded for want of `BECOMING`, and SetupError when the user namespace lacks the user.
    """
    uid, gid = _numbers(user)
    if uid == os.getuid() == os.geteuid():
        return uid, gid
    if not _exists_here(uid, gid):
        hint = "name none: the processes keep the user of the daemon then"
        raise SetupError(f"become {user}", "this user namespace does not have that user", hint)
    require(f"become {user}", *BECOMING)
    return uid, gid


def _numbers(user: str) -> tuple[int, int]:
    if user == str(os.geteuid()):
        return os.geteuid(), os.getegid()
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise ConfigError(f"there is no user {user!r} on this system") from None
    return entry.pw_uid, entry.pw_gid


def lacks_kill(user: str) -> bool:
    """Return whether this process cannot end those of *user*, for want of CAP_KILL."""
    return check_user(user)[0] != os.getuid() and "CAP_KILL" not in effective()


def reduce(names: Iterable[str]) -> None:
    """Give up every capability but those in *names*, as far as this process has them.

    Programs that it executes get what the bounding set leaves to root, or what is ambient.
    """
    kept = _mask(names)
    permitted, inheritable = _status("CapPrm") & kept, _status("CapInh") & kept
    _set_capabilities(permitted, inheritable)


def drop(user: str, keep: Iterable[str] = ()) -> Dropped:
    """Become *user* irrevocably, with no supplementary group and no capability but those in *keep*.

    Neither a set-user-ID program nor file capabilities restore any afterwards, and no process of
    the same user can trace this one or read its memory.  Call it while there is one thread only.

    Raises the errors of `check_user`, PermissionNeeded when a capability in *keep* is not held, and
    SetupError when privileges turn out to remain: the process must then end.
    """
    kept = frozenset(keep)
    uid, gid = check_user(user)
    require(f"keep capabilities as {user}", *sorted(kept))
    _clear_bounds()
    if effective().issuperset(BECOMING) and _exists_here(uid, gid):
        _become(uid, gid)
    _set_capabilities(_mask(kept))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_DUMPABLE, 0)
    _verify(user, kept)
    return Dropped(os.getuid(), os.getgid(), kept)


def user_number(user: str) -> int:
    """Return the number of the user that `drop` would make this process.

    An unknown *user*, whom `drop` refuses, is this one.
    """
    try:
        return check_user(user)[0]
    except FaithError:
        return os.geteuid()


def _clear_bounds() -> None:
    """Empty the ambient and bounding sets, from which executed programs could gain capabilities."""
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    if "CAP_SETPCAP" in effective():  # without it no_new_privs alone has to do, and does
        for number in range(_last_capability() + 1):
            _prctl(_PR_CAPBSET_DROP, number)


def _become(uid: int, gid: int) -> None:
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


def _set_capabilities(mask: int, inheritable: int = 0) -> None:
    """Make *mask* the effective and permitted set; what is not *inheritable* is not ambient."""
    low, high = mask & 0xFFFFFFFF, mask >> 32
    low_inheritable, high_inheritable = inheritable & 0xFFFFFFFF, inheritable >> 32
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    sets = struct.pack("=6I", low, low, low_inheritable, high, high, high_inheritable)
    _check(_LIBC.capset(header, sets))


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

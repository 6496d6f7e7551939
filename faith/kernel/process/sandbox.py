"""The confinement of a process that serves strangers: by Landlock, and by a list of system calls.

See landlock(7).  It applies to the calling thread and its descendants, irrevocably.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from faith.errors import SetupError
from faith.kernel.process import system_calls

# linux/landlock.h.  The system calls have these numbers on every architecture.
_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_GET_VERSION = 1
_READING = 1 << 2 | 1 << 3  # READ_FILE, READ_DIR
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15}
"""How many access rights to files each version knows, without ioctl(2), which is not restricted."""
_NETWORK_SINCE, _NETWORK_RIGHTS = 4, 1 << 0 | 1 << 1  # BIND_TCP, CONNECT_TCP
_SCOPES_SINCE, _SCOPES = 6, 1 << 0 | 1 << 1  # ABSTRACT_UNIX_SOCKET, SIGNAL

_STEP = "confine the process"


def confine(*, connects: bool = True, uses_maps: bool = False) -> int:
    """Forbid this thread to execute, write, create and remove files, and to signal other processes.

    Open descriptors stay usable, and files can be read.  Without *connects*, TCP connections and
    TCP ports are forbidden as well.  The caller must have set no_new_privs.  The system calls of
    `system_calls` are refused where the kernel filters them, but for the elements of BPF maps if it
    *uses_maps*.

    Returns the version of Landlock, which decides how much of this is enforced: connections since
    4, signals and abstract sockets since 6, and nothing at 0, where the kernel has none.  Raises
    SetupError.
    """
    version = _confine(connects=connects)
    try:
        system_calls.give_up(uses_maps=uses_maps)
    except OSError as error:
        raise SetupError(_STEP, os.strerror(error.errno or 0)) from error
    return version


def _confine(*, connects: bool) -> int:
    try:
        version = _landlock(_CREATE_RULESET, None, 0, _GET_VERSION)
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):
            return 0
        raise SetupError(_STEP, os.strerror(error.errno or 0)) from error
    try:
        rights = _rights(version, connects=connects)
        ruleset = _landlock(_CREATE_RULESET, rights, len(rights), 0)
        try:
            _landlock(_RESTRICT_SELF, ruleset, 0)
        finally:
            os.close(ruleset)
    except OSError as error:
        raise SetupError(_STEP, os.strerror(error.errno or 0)) from error
    return version


def _rights(version: int, *, connects: bool) -> bytes:
    """Return a struct landlock_ruleset_attr of the denied rights, as long as *version* knows it."""
    known = _FILE_RIGHTS.get(version, max(_FILE_RIGHTS.values()))
    rights = struct.pack("=Q", (1 << known) - 1 & ~_READING)
    if version >= _NETWORK_SINCE:
        rights += struct.pack("=Q", 0 if connects else _NETWORK_RIGHTS)
    if version >= _SCOPES_SINCE:
        rights += struct.pack("=Q", _SCOPES)
    return rights


def _landlock(number: int, *arguments: bytes | int | None) -> int:
    result = int(_LIBC.syscall(ctypes.c_long(number), *map(_argument, arguments)))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _argument(value: bytes | int | None) -> object:
    return ctypes.c_long(value) if isinstance(value, int) else value


_LIBC = ctypes.CDLL(None, use_errno=True)

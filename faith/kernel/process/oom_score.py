"""The order in which the kernel ends processes when memory runs out: oom_score_adj of proc(5).

The score of a process is adjusted by -1000 (never ended) to 1000 (ended first).  A process may
raise its own adjustment; to lower it takes CAP_SYS_RESOURCE.  It is inherited by children.
"""

from __future__ import annotations

import logging
import os

from faith.errors import SetupError
from faith.kernel import text_file

SUPERVISOR = -300
"""The adjustment of a supervisor for which nobody has chosen another."""
CHILD = 200
"""How much is added for a child of the supervisor."""
MOST = 1000

log = logging.getLogger("faith.process")


def lower_own() -> None:
    """Protect this process, the supervisor, where that is allowed and nobody has chosen a value."""
    if _read() == 0:
        _write(SUPERVISOR, "self")


def raise_own() -> None:
    """Offer this process, a child of the supervisor, to the kernel before the supervisor.

    Call it before privileges are dropped: afterwards the file is root's.
    """
    _write(min(_unprotected() + CHILD, MOST), "self")


def unprotect(pid: int) -> None:
    """Take from *pid*, a program that the supervisor has started, the protection it inherited."""
    if _read() == SUPERVISOR:
        _write(_unprotected(), pid)


def _unprotected() -> int:
    """Return the adjustment of this process without that of `lower_own`."""
    own = _read()
    return 0 if own == SUPERVISOR else own


def _read() -> int:
    try:
        return int(text_file.read_proc("/proc/self/oom_score_adj"))
    except SetupError:
        return 0


def _write(value: int, pid: int | str) -> None:
    """Set the adjustment; where it must not be changed, it stays."""
    try:
        with open(f"/proc/{pid}/oom_score_adj", "wb", buffering=0) as file:
            file.write(b"%d" % value)
    except OSError as error:
        log.debug("the OOM adjustment of %s stays: %s", pid, os.strerror(error.errno or 0))

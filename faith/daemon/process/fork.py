"""Forking a child that hears no signal of its parent's, and the words for how it ended."""

from __future__ import annotations

import gc
import os
import signal

_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that a terminal or systemd sends to all of us: they are for the supervisor to act on."""


def fork() -> int:
    """fork(2), with no signal of the parent's ever heard in the child.  Raises OSError."""
    gc.freeze()  # what is there now is shared: a collection would write to, and so copy, all of it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if not pid:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number in _IGNORED:
                signal.signal(number, signal.SIG_IGN)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def how_it_ended(status: int) -> str:
    """Return a wait status of waitpid(2) in words: the exit code, or the signal that killed it."""
    code = os.waitstatus_to_exitcode(status)
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"

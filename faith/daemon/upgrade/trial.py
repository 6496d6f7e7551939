"""The trial of the next program in a child, and its execution in the place of this one."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import faith
from faith.daemon.observe import log as log_output
from faith.daemon.observe.log import NOTICE
from faith.daemon.process import systemd
from faith.daemon.process.fork import how_it_ended
from faith.daemon.upgrade.bytecode import drop_stale
from faith.daemon.upgrade.inherited_state import left
from faith.errors import FaithError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from faith.daemon.process.loop import Loop
    from faith.daemon.upgrade.inherited_state import Values

log = logging.getLogger("faith.supervisor")

PATIENCE = 30.0
"""Seconds in which the next program has to come up."""
_LONGEST = 2000

try:
    _STARTED_IN = os.getcwd()  # arguments may be relative to it; a daemon changes to / later
except OSError:
    _STARTED_IN = "/"


class Upgrade:
    """Replaces this program by the one that is on disk now, if that passes a trial.

    On trial, in a child, it comes up to the point at which its workers could serve: it reads its
    configuration, adopts copies of every descriptor, and forks its workers, which drop their
    privileges.  A failure there changes nothing, and *failed* is called with its cause.  *leave*
    returns the state to pass on, and the descriptors in it.
    """

    def __init__(
        self,
        loop: Loop,
        leave: Callable[[], tuple[Values, Sequence[int]]],
        failed: Callable[[FaithError], None],
    ) -> None:
        self._loop = loop
        self._leave = leave
        self._failed = failed
        self.failures = 0
        """The number of failed upgrades."""
        self._trial: subprocess.Popen[bytes] | None = None
        self._said = -1
        self._tried = -1

    def begin(self) -> None:
        """Start the trial; if it succeeds, this program is replaced.

        A trial that is under way is cancelled.
        """
        self.close()
        log.log(NOTICE, "upgrading: trying the new program")
        if failed := drop_stale(Path(faith.__path__[0])):
            why = "%d compiled modules may be older than their sources: %s"
            log.warning(why, len(failed), failed[0])
        self._tried = os.memfd_create("faith-tried", os.MFD_CLOEXEC)
        values, descriptors = self._with_tried()
        self._said = os.memfd_create("faith-trial", os.MFD_CLOEXEC)
        try:
            with left(values, descriptors) as (descriptor, environment):
                self._trial = subprocess.Popen(
                    _command(),
                    env=environment,
                    cwd=_STARTED_IN,
                    pass_fds=[descriptor, *descriptors],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self._said,
                )
        except OSError as error:
            self._stay(f"cannot be executed: {error.strerror}")
            return
        trial = self._trial
        self._loop.later(PATIENCE, lambda: self._give_up(trial))

    def reaped(self, pid: int, status: int) -> bool:
        """Handle the end of a process; return False when it was not on trial."""
        trial = self._trial
        if trial is None or trial.pid != pid:
            return False
        trial.returncode = os.waitstatus_to_exitcode(status)
        self._trial = None
        if status:
            self._stay(how_it_ended(status))
        else:
            os.close(self._said)
            self._execute()
        return True

    def close(self) -> None:
        """Cancel a trial."""
        if self._trial:
            self._trial.kill()
            self._trial.wait()
            self._trial = None
            os.close(self._said)
            os.close(self._tried)

    def _with_tried(self) -> tuple[Values, Sequence[int]]:
        """Return what is left to the next program, with a file for what it reads on trial.

        It starts by that file when it is executed, whatever has become of its own meanwhile.
        """
        values, descriptors = self._leave()
        return {**values, "tried": self._tried}, [*descriptors, self._tried]

    def _give_up(self, trial: subprocess.Popen[bytes]) -> None:
        if trial is self._trial:
            os.write(self._said, f"not ready after {PATIENCE:g} s".encode())
            trial.kill()

    def _stay(self, why: str) -> None:
        size = os.fstat(self._said).st_size
        said = os.pread(self._said, _LONGEST, max(0, size - _LONGEST)).decode(errors="replace")
        os.close(self._said)
        lines = said.splitlines()[-10:]
        self._fail(": ".join([f"the new program {why}", *lines[-1:]]))
        for line in lines:
            log.error("output of the new program: %s", line)

    def _fail(self, why: str) -> None:
        os.close(self._tried)
        self.failures += 1
        log.error("not upgraded: %s", why)
        self._failed(FaithError(why))

    def _execute(self) -> None:
        """Execute the next program; returns only when the kernel refuses."""
        values, descriptors = self._with_tried()
        systemd.reloading()
        # Signals stay pending until the next program can handle them.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            with left(values, descriptors) as (descriptor, environment):
                for one in (descriptor, *descriptors):
                    os.set_inheritable(one, True)
                os.chdir(_STARTED_IN)
                log_output.finish()
                os.execve(sys.executable, _command(), environment)
        except OSError as error:
            for one in descriptors:
                with suppress(OSError):
                    os.set_inheritable(one, False)
            systemd.notify("READY=1")
            self._fail(error.strerror or str(error))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _command() -> list[str]:
    """Return the command line of this program."""
    return [sys.executable, *sys.orig_argv[1:]]

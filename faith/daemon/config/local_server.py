"""The local server: the program that serves connections to the gateway's own addresses."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from faith.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Sequence

_SYSTEMD = frozenset(
    (
        "INVOCATION_ID",
        "JOURNAL_STREAM",
        "LISTEN_FDNAMES",
        "LISTEN_FDS",
        "LISTEN_PID",
        "MAINPID",
        "NOTIFY_SOCKET",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
    )
)
"""Environment variables that systemd sets for the daemon, and not for a program that it runs."""


@dataclass(frozen=True)
class LocalServer:
    """A program: its absolute *path*, and the *argv* to start it with, its name first."""

    path: str
    argv: tuple[str, ...]

    @classmethod
    def of(cls, words: Sequence[str]) -> LocalServer:
        """Make a server of its path, and its argv unless that is just its name."""
        path, *argv = words
        return cls(os.path.abspath(path), tuple(argv or [os.path.basename(path)]))

    def check(self) -> None:
        """Raise SetupError unless the program can be executed."""
        if not os.path.isfile(self.path):
            raise SetupError(
                f"local server {self.path}", "no such file", "install it, or name another program"
            )
        if not os.access(self.path, os.X_OK):
            raise SetupError(f"local server {self.path}", "not executable", f"chmod +x {self.path}")

    def start(self, connection: socket.socket) -> int:
        """Start the program on *connection* as inetd would; return its process number.  Raises
        OSError.

        It gets the blocking connection as descriptors 0 to 2 and no other, default signals, and a
        session of its own, so that it can neither lose nor take the daemon's terminal.
        """
        connection.setblocking(True)
        # The relay needs this option; a server that wants urgent data in the stream sets it itself.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 0)
        number = connection.fileno()
        return os.posix_spawn(
            self.path,
            self.argv,
            {name: os.environ[name] for name in os.environ.keys() - _SYSTEMD},
            file_actions=[(os.POSIX_SPAWN_DUP2, number, target) for target in range(3)],
            setsid=True,
            setsigmask=(),
            # A signal that Python ignores, a shell for background jobs, or nohup, would stay so.
            setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
        )

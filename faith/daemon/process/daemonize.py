"""Into the background and back out: daemon(3), but the caller hears whether it came to anything."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from faith.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def is_supervised() -> bool:
    """Return whether a supervisor started this process: systemd, or a container (as PID 1)."""
    if os.environ.get("LISTEN_PID") in (str(os.getpid()), str(os.getppid())):  # or on trial
        return True
    return os.getpid() == 1 or bool(os.environ.keys() & {"NOTIFY_SOCKET", "INVOCATION_ID"})


class Background:
    """The ties of a daemon to its caller: standard streams, and a pipe (*told*) to report to it.

    Without a pipe the daemon is in the foreground, and stays attached.
    """

    def __init__(self, told: int | None = None) -> None:
        self._told = told

    @classmethod
    def enter(cls, *, again: bool = False) -> Background:
        """Return in a process in the background; the caller stays in the foreground and waits.

        It exits once :meth:`served` is called (0) or this process has ended (1).  *Again* is for a
        program whose process is in the background already.
        """
        if again:
            os.chdir("/")
            return cls()
        heard, told = os.pipe()
        if os.fork():
            os.close(told)
            os._exit(0 if os.read(heard, 1) else 1)
        os.close(heard)
        os.setsid()
        if os.fork():  # who is no session leader never gets a terminal again
            os._exit(0)
        os.chdir("/")
        return cls(told)

    def detach(self) -> None:
        """Detach from the caller without a report, as a worker does; a no-op the second time."""
        if self._told is not None:
            null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
            for descriptor in range(3):
                os.dup2(null, descriptor)
            os.close(null)
            os.close(self._told)
            self._told = None

    def served(self) -> None:
        """Report to the caller that the daemon serves, and detach from it."""
        if self._told is not None:
            with suppress(BrokenPipeError):
                os.write(self._told, b"1")
            self.detach()


@contextmanager
def pid_file(path: Path | None) -> Iterator[None]:
    """Within the block, *path* holds the number of this process; its directory is made.

    Raises SetupError.
    """
    if path is None:
        yield
        return
    try:
        if not path.parent.exists():
            path.parent.mkdir(mode=0o755, parents=True)
        path.write_text(f"{os.getpid()}\n")
    except OSError as error:
        hint = "name another file as pid_file, or none"
        raise SetupError(f"write {path}", str(error.strerror), hint) from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)

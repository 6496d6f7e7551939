"""A program on a terminal of its own, driven as a person would."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from tests.peers.site import Site


class Terminal:
    """Starts *program*; a context manager that hangs up at the end.

    *size* is in rows and columns, 0 unknown.
    """

    def __init__(
        self, site: Site, program: str, *arguments: str, size: tuple[int, int] = (0, 0)
    ) -> None:
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", *size, 0, 0))
        self._unread = ""
        try:
            streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
            self.program = site.start(program, *arguments, **streams)
        finally:
            os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._ours)

    @property
    def octets_read(self) -> int:
        """How many octets the program has read, from anywhere."""
        return int(Path(f"/proc/{self.program.pid}/io").read_text().split(maxsplit=2)[1])

    def type(self, text: str) -> None:
        """Press the keys."""
        os.write(self._ours, text.encode())

    def wait_for(self, text: str, seconds: float = 10) -> str:
        """Wait till the program has written *text*, further on than what was waited for before.

        Returns what it wrote, up to the end of *text*.  Raises AssertionError with what it wrote
        instead.
        """
        deadline = time.monotonic() + seconds
        while text not in self._unread:
            left = deadline - time.monotonic()
            assert select.select([self._ours], [], [], max(left, 0))[0], (
                f"no {text!r} within {seconds:g} s, but {self._unread!r}"
            )
            self._unread += self._read(text)
        before, _, self._unread = self._unread.partition(text)
        return before + text

    def _read(self, text: str) -> str:
        try:
            return os.read(self._ours, 4096).decode(errors="backslashreplace")
        except OSError as error:  # EIO: nobody has the terminal open any more
            raise AssertionError(f"it ended without {text!r}, after {self._unread!r}") from error

"""syslog(3) in plain Python, for a process that cannot wait for logging to be imported.

Lines for which syslogd has no room are kept and sent before the next one, so that the client does
not wait for a log; the end of the process does, for a second at most.
"""

from __future__ import annotations

import _socket
import os
import struct
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

DEV_LOG = "/dev/log"
FINISH = 1.0
"""Seconds for which the end of the process waits for syslogd."""
MOST = 1000
"""The lines that are kept."""
_DEBUG, _INFO, _ERROR = (3 << 3 | level for level in (7, 6, 3))  # of the facility LOG_DAEMON


class Syslog:
    """The log: syslogd, and the terminal when standard error is one: else it may be the client."""

    def __init__(self) -> None:
        self.debugging = False
        self._waiting: list[bytes] = []
        self._lost = 0

    def debug(self, text: str) -> None:
        """Log *text*, a step, with LOG_DEBUG; nothing without -d."""
        if self.debugging:
            self._tell(_DEBUG, text)

    def info(self, text: str) -> None:
        """Log *text*, an event, with LOG_INFO."""
        self._tell(_INFO, text)

    def error(self, text: str) -> None:
        """Log *text*, a failure and its reason, with LOG_ERR."""
        self._tell(_ERROR, text)

    def defect(
        self,
        kind: type[BaseException],
        error: BaseException,
        trace: TracebackType | None,
    ) -> None:
        """In the place of sys.excepthook, which would write to the client."""
        from traceback import format_exception

        for line in "".join(format_exception(kind, error, trace)).splitlines():
            self.error(line)
        self.finish()

    def finish(self) -> None:
        """Send what waits, for `FINISH` seconds at most: the process ends."""
        if self._waiting:
            self._send(FINISH)

    def _tell(self, priority: int, text: str) -> None:
        when = time.strftime("%b %e %H:%M:%S")
        line = f"faithd[{os.getpid()}]: {text}"
        if os.isatty(2):
            os.write(2, f"{line}\n".encode())
        self._keep(f"<{priority}>{when} {line}")
        if self._send() and self._lost:
            lost, self._lost = self._lost, 0
            self._tell(_ERROR, f"{lost} log lines were lost")

    def _keep(self, line: str) -> None:
        if len(self._waiting) < MOST:
            self._waiting.append(line.encode(errors="backslashreplace"))
        else:
            self._lost += 1

    def _send(self, seconds: float = 0.0) -> bool:
        """Send what waits, for so many seconds; return whether nothing is left."""
        end = time.monotonic() + seconds
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
        try:
            if seconds:
                limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1_000_000) or 1)
                sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, limit)
            else:
                sock.setblocking(False)
            while self._waiting:
                sock.sendto(self._waiting[0], DEV_LOG)
                del self._waiting[0]
                if seconds and time.monotonic() > end:
                    break
        except OSError:  # no room, or nobody listens
            pass
        finally:
            sock.close()
        return not self._waiting

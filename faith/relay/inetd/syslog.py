"""syslog(3) in plain Python, for a process that cannot wait for logging to be imported."""

from __future__ import annotations

import _socket
import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

DEV_LOG = "/dev/log"
_DEBUG, _INFO, _ERROR = (3 << 3 | level for level in (7, 6, 3))  # of the facility LOG_DAEMON


class Syslog:
    """Tells syslogd, and the terminal when standard error is one: else it may be the client."""

    def __init__(self) -> None:
        self.debugging = False
        self.port = 0  # of the service, once it is known

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

    def _tell(self, priority: int, text: str) -> None:
        when = time.strftime("%b %e %H:%M:%S")
        line = f"{self._ident()}[{os.getpid()}]: {text}"
        if os.isatty(2):
            os.write(2, f"{line}\n".encode())
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_NONBLOCK)
        try:
            sock.sendto(f"<{priority}>{when} {line}".encode(), DEV_LOG)
        except OSError:
            return  # nobody listens, and there is nobody to tell that
        finally:
            sock.close()

    def _ident(self) -> str:
        try:
            return f"faithd {_socket.getservbyport(self.port, 'tcp')}"
        except OSError:
            return f"faithd {self.port}" if self.port else "faithd"

"""The reception of what processes send to their supervisor, by a handler for each type of message.

A process is not trusted: one that sends what it may not send is killed.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from faith.daemon.process.channel import InvalidMessage, close_all
from faith.errors import SetupError
from faith.translation.typography import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from faith.daemon.process.channel import Received
    from faith.daemon.process.loop import Loop
    from faith.daemon.process.messages import Report
    from faith.daemon.process.peer import Worker

    Handler = Callable[[Worker, Any, list[int]], None]
    """Called with a message and its descriptors, which are closed afterwards.

    There are none if they were lost for want of room.  Raises InvalidMessage for what no sound
    process sends.
    """

BATCH = 64
"""Messages of a process that are handled before the others have their turn."""

log = logging.getLogger("faith.supervisor")


class Reception:
    """Receives messages from the channels that *loop* watches, and calls their *handlers*.

    While *starting* returns true, a SetupError of a handler is raised.
    """

    def __init__(
        self,
        loop: Loop,
        handlers: Mapping[type[Report], Handler],
        starting: Callable[[], bool],
    ) -> None:
        self._loop = loop
        self._handlers = handlers
        self._starting = starting

    def some(self, worker: Worker) -> None:
        """Handle what *worker* has sent, but let others have their turn."""
        for _ in range(BATCH):
            if not self.one(worker):
                return

    def one(self, worker: Worker) -> bool:
        """Handle one message; False when there is none."""
        if worker.channel.fileno() < 0:
            return False  # it was reaped meanwhile
        try:
            received = worker.channel.receive()
        except InvalidMessage as error:
            _is_invalid(worker, error)
            return not worker.killed
        except OSError:
            return False
        if received is None:
            self._loop.forget(worker.channel)  # it is about to end
            return False
        try:
            self._handle(worker, received)
        finally:
            close_all(received.descriptors)
        return True

    def _handle(self, worker: Worker, received: Received[Report]) -> None:
        """Call the handler of a message: an error of its own is ours, and costs no worker."""
        message, descriptors, cut = received
        kind = type(message).__name__
        if cut:
            log.error("%s %d: descriptors of %s were lost", worker.what, worker.number + 1, kind)
        handler = self._handlers.get(type(message))
        if handler is None:
            _is_invalid(worker, f"{kind} is not for it to send")
            return
        try:
            handler(worker, message, descriptors)
        except InvalidMessage as error:
            _is_invalid(worker, error)
        except Exception as error:
            if self._starting() and isinstance(error, SetupError):
                raise
            text = "%s %d: handling its %s failed, which is a defect of this program"
            log.exception(text, worker.what, worker.number + 1, kind)


def _is_invalid(worker: Worker, why: object) -> None:
    worker.kill(f"sent an invalid message ({printable(str(why)[:200])})")

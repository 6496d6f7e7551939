"""The body of a message of known length, moved from socket to socket through a pipe (splice(2))."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from faith.relay.tcp.pipes import PIPE_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.relay.proxy.stream_end import StreamEnd
    from faith.relay.tcp.pipes import Pipe, PipePool

BULK = 65536
"""Octets of a body from which on it is spliced; fewer are read and written."""

_SPLICE = 3  # SPLICE_F_MOVE | SPLICE_F_NONBLOCK


class BodySplice:
    """Moves octets from *source* to *sink*, as many as it is asked to, and never one more."""

    def __init__(self, pool: PipePool, source: StreamEnd, sink: StreamEnd) -> None:
        self._pool = pool
        self._source = source
        self._sink = sink
        self.pipe: Pipe | None = None
        self.piped = 0
        """Octets on their way, in the pipe."""

    def fill(self, most: int) -> bool:
        """Take at most *most* octets of the source; False if they have to be read instead.

        At the source's end, and when it has failed, it is for a read to find that.
        """
        if self.piped:
            return True
        if most < BULK or not self._has_pipe():
            self.release()
            return False
        assert self.pipe is not None
        try:
            self.piped = os.splice(
                self._source.fd, self.pipe[1], min(most, PIPE_SIZE), flags=_SPLICE
            )
        except BlockingIOError:
            return True
        except OSError as error:
            self._source.fail(error)
            return False
        return self.piped > 0

    def push(self) -> int:
        """Give the sink what is in the pipe, as far as it takes it; return how much it took.

        When the sink has failed, the rest is dropped.
        """
        total = 0
        while self.piped:
            assert self.pipe is not None
            try:
                sent = os.splice(self.pipe[0], self._sink.fd, self.piped, flags=_SPLICE)
            except BlockingIOError:
                break
            except OSError as error:
                self._sink.fail(OSError(error.errno or errno.EIO, ""))
                self.release()
                break
            self.piped -= sent
            total += sent
        return total

    def hand_over(self) -> tuple[int, list[int]]:
        """Return what is in the pipe, and its descriptors if it is anything; both for `adopt`."""
        pipe, piped = self.pipe, self.piped
        if pipe is None or not piped:
            self.release()
            return 0, []
        self._pool.hand_over(pipe)
        self.pipe, self.piped = None, 0
        return piped, [*pipe]

    def adopt(self, piped: int, descriptors: Iterator[int]) -> None:
        """Go on with so many octets in a pipe of another, whose *descriptors* come first."""
        if piped:
            self.pipe, self.piped = (next(descriptors), next(descriptors)), piped
            self._pool.adopt(self.pipe)

    def release(self) -> None:
        """Give the pipe back, and drop what is in it."""
        if self.pipe is not None:
            if self.piped:
                self._pool.discard(self.pipe)
            else:
                self._pool.give(self.pipe)
        self.pipe = None
        self.piped = 0

    def _has_pipe(self) -> bool:
        if self.pipe is None:
            self.pipe = self._pool.take()
        return self.pipe is not None

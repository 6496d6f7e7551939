"""Pipes for splice(2), pooled, with a bound on the memory they may take in all."""

from __future__ import annotations

import fcntl
import os

PIPE_SIZE = 1 << 20
"""Bytes a pipe is asked to hold: 64 KiB costs 1.6 times the CPU a byte (docs/benchmarks.rst)."""
MAX_PIPES = 32
"""Pipes a plane may own: an unprivileged user may fill 64 MiB of pipes (pipe(7)), shared by all."""

Pipe = tuple[int, int]
"""Read and write descriptor, both non-blocking."""


class PipePool:
    """Empty pipes, made when first wanted and kept.

    A pipe is given back only when it is empty; one that is not is discarded.
    """

    def __init__(self, limit: int = MAX_PIPES) -> None:
        self._free: list[Pipe] = []
        self._left = limit

    def take(self) -> Pipe | None:
        """An empty pipe, or None when the bound is reached or the system has none to give."""
        if self._free:
            return self._free.pop()
        if self._left <= 0:
            return None
        try:
            pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        self._left -= 1
        try:
            fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        except OSError:
            return pipe  # over the user's share it stays small: dearer, not wrong
        return pipe

    def adopt(self, pipe: Pipe) -> None:
        """Count *pipe*, which another pool had made, as one of ours that is taken."""
        self._left -= 1

    def hand_over(self, pipe: Pipe) -> None:
        """Count *pipe*, which was taken, as another pool's."""
        self._left += 1

    def give(self, pipe: Pipe) -> None:
        """Take back an empty *pipe*."""
        self._free.append(pipe)

    def discard(self, pipe: Pipe) -> None:
        """Close a *pipe* that still holds bytes of a session that ended."""
        for descriptor in pipe:
            os.close(descriptor)
        self._left += 1

    def close(self) -> None:
        """Close the pipes in the pool."""
        while self._free:
            self.discard(self._free.pop())

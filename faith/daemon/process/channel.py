"""What supervisor and worker say to each other: JSON objects, and descriptors with them.

The kernel keeps messages apart (SOCK_SEQPACKET).  What may be long, a policy with all its rules,
travels as a file in memory, so that no message can be too long to be sent.
"""

from __future__ import annotations

import json
import os
import socket
from array import array
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    Message = dict[str, Any]

_LONGEST = 65536


class Channel:
    """One end; neither end ever waits for the other.

    With a message come *most* descriptors; what is more is closed.
    """

    def __init__(self, sock: socket.socket, most: int = 1) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._space = socket.CMSG_SPACE(most * array("i").itemsize)

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Two ends that are connected."""
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(near), cls(far)

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._socket.fileno()

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send *message*; the receiver gets copies of *descriptors*, if it has room for them.

        Raises BlockingIOError when the other end has stopped reading, BrokenPipeError when it is
        gone.
        """
        socket.send_fds(self._socket, [json.dumps(message).encode()], descriptors)

    def receive(self) -> tuple[Message, list[int]] | None:
        """The next message with its descriptors, which the caller owns; None at the end.

        Raises BlockingIOError when there is none yet, and ValueError when it is no JSON; then the
        descriptors that came with it are closed.
        """
        try:
            # Not socket.recv_fds(): it drops the flags, and programs would inherit what came.
            data, ancillary, _, _ = self._socket.recvmsg(
                _LONGEST, self._space, socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError:  # the other end died with messages of ours unread
            return None
        descriptors = _descriptors(ancillary)
        try:
            if data:
                return json.loads(data), descriptors
        except (ValueError, RecursionError) as error:
            _close(descriptors)
            raise ValueError("not JSON") from error
        _close(descriptors)
        return None

    def close(self) -> None:
        """Close this end."""
        self._socket.close()


def _descriptors(ancillary: Iterable[tuple[int, int, bytes]]) -> list[int]:
    descriptors = array("i")
    for level, kind, value in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(value)
    return list(descriptors)


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


@contextmanager
def in_memory(text: str) -> Iterator[int]:
    """A descriptor of a file with *text* in it, to be sent to as many as need it."""
    descriptor = os.memfd_create("faith", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "w", encoding="utf-8", closefd=False) as file:
            file.write(text)
        yield descriptor
    finally:
        os.close(descriptor)


def from_memory(descriptor: int) -> str:
    """The text of an :func:`in_memory` file; *descriptor* is closed.

    It is read from its beginning wherever the shared position is: other workers read it too.
    """
    try:
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode()
    finally:
        os.close(descriptor)

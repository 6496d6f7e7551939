"""Channels: messages between two processes, with descriptors; neither end ever waits.

The kernel keeps messages apart (SOCK_SEQPACKET).  What may be long, a policy with all its rules,
travels as a file in memory, so that no message can be too long to be sent.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
from array import array
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    Message = dict[str, Any]

Out = TypeVar("Out")
In = TypeVar("In")

LONGEST = 65536
"""Octets of a message; a longer one is invalid."""
LARGEST_FILE = 1 << 28
"""Octets of a file in memory that is read; a larger one is invalid."""


NO_ROOM = frozenset(
    (errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS, errno.EMFILE, errno.ENFILE)
)
"""Errors of sending that are over when there is room again, in the channel or for descriptors."""


class InvalidMessage(ValueError):
    """The other end has sent something that no sound process sends."""


def socket_of(descriptor: int) -> socket.socket:
    """Return a copy of a socket that was received.  Raises InvalidMessage for what is none, and
    OSError where there is no room for the copy."""
    copy = os.dup(descriptor)
    try:
        return socket.socket(fileno=copy)
    except OSError as error:
        os.close(copy)
        raise InvalidMessage("no socket") from error


class Codec(NamedTuple, Generic[Out, In]):
    """How the messages that are sent become octets, and the octets received messages.

    *decode* raises ValueError for what is no message.
    """

    encode: Callable[[Out], bytes]
    decode: Callable[[bytes], In]


JSON: Codec[Any, Any] = Codec(lambda message: json.dumps(message).encode(), json.loads)
"""Objects of any kind."""


class Received(NamedTuple, Generic[In]):
    """A message and its descriptors, which are the receiver's.

    It is *cut* when descriptors were lost for which this process had no room (MSG_CTRUNC); then
    there are none.
    """

    message: In
    descriptors: list[int]
    cut: bool = False


class Channel(Generic[Out, In]):
    """One end: sends and receives messages as *codec* has them.

    A message is received with *most* descriptors at most.
    """

    def __init__(
        self, sock: socket.socket, most: int = 1, codec: Codec[Out, In] | None = None
    ) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._space = socket.CMSG_SPACE(most * array("i").itemsize)
        self._codec: Codec[Out, In] = codec or JSON

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._socket.fileno()

    def send(self, message: Out, descriptors: Sequence[int] = ()) -> None:
        """Send *message*, with copies of *descriptors* if the receiver has room for them.

        Raises BlockingIOError when the other end has stopped reading, and another OSError when it
        is gone: BrokenPipeError, or ConnectionResetError if it had messages unread.
        """
        socket.send_fds(self._socket, [self._codec.encode(message)], descriptors)

    def receive(self) -> Received[In] | None:
        """Return the next message; None at the end.

        Raises BlockingIOError when there is none yet, and InvalidMessage for what is none; then
        the descriptors that came with it are closed.
        """
        try:
            data, ancillary, flags, _ = self._receive()
        except ConnectionResetError:
            # The other end has died with messages of ours unread; its own come after this error.
            data, ancillary, flags, _ = self._receive()
        descriptors = _descriptors(ancillary)
        if not data:
            close_all(descriptors)
            return None
        try:
            if flags & socket.MSG_TRUNC:
                raise ValueError(f"longer than {LONGEST} octets")
            message = self._codec.decode(data)
        except (ValueError, RecursionError) as error:
            close_all(descriptors)
            raise InvalidMessage(str(error)) from error
        cut = bool(flags & socket.MSG_CTRUNC)
        if cut:
            close_all(descriptors)
        return Received(message, [] if cut else descriptors, cut)

    def _receive(self) -> tuple[bytes, list[tuple[int, int, bytes]], int, Any]:
        # Not socket.recv_fds(): it drops the flags, and programs would inherit what came.
        return self._socket.recvmsg(LONGEST, self._space, socket.MSG_CMSG_CLOEXEC)

    def close(self) -> None:
        """Close this end."""
        self._socket.close()


JsonChannel = Channel[Any, Any]
"""A channel for objects of any kind, in JSON."""


def close_all(descriptors: Iterable[int]) -> None:
    """Close each of *descriptors*."""
    for descriptor in descriptors:
        os.close(descriptor)


def _descriptors(ancillary: Iterable[tuple[int, int, bytes]]) -> list[int]:
    descriptors = array("i")
    for level, kind, value in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(value[: len(value) - len(value) % descriptors.itemsize])
    return list(descriptors)


@contextmanager
def in_memory(text: str) -> Iterator[int]:
    """Give a descriptor of a file with *text* in it, to be sent to as many as need it."""
    descriptor = os.memfd_create("faith", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "w", encoding="utf-8", closefd=False) as file:
            file.write(text)
        yield descriptor
    finally:
        os.close(descriptor)


def from_memory(descriptor: int) -> str:
    """Return the text of an `in_memory` file; *descriptor* is closed.

    It is read from its beginning wherever the shared position is: other workers read it too.
    Raises InvalidMessage for what is no such file, or larger than `LARGEST_FILE`.
    """
    try:
        octets = check_file(descriptor)
        return os.pread(descriptor, octets, 0).decode()
    except UnicodeDecodeError as error:
        raise InvalidMessage(str(error)) from error
    finally:
        os.close(descriptor)


def check_file(descriptor: int) -> int:
    """Return the octets in the file behind *descriptor*.

    Raises InvalidMessage when it is no plain file, whose reader might wait, or is larger than
    `LARGEST_FILE`.
    """
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_FILE:
        raise InvalidMessage(f"not a file of {LARGEST_FILE} octets at most")
    return status.st_size

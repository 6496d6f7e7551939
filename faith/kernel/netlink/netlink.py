"""A small netlink client: attributes, requests, dumps, and batches that apply whole or not at all.

Everything here is the kernel's own layout (``linux/netlink.h``, ``linux/nfnetlink.h``) without a
library: inetd mode pays for every import, nftables needs several commands in one transaction, and
an owned table belongs to the socket that made it.
"""

from __future__ import annotations

import _socket
import errno
import os
import struct

from faith.errors import PermissionNeeded, SetupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Self

    Command = tuple[int, int, bytes]
    """One change of a batch: message type, flags (without NLM_F_REQUEST), body."""

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12

NLM_F_REQUEST = 0x001
NLM_F_ACK = 0x004
NLM_F_DUMP = 0x300
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800
_NLM_F_DUMP_INTR = 0x010
_NLM_F_ACK_TLVS = 0x200

_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_NLMSGERR_ATTR_MSG = 1
_NFNL_MSG_BATCH_BEGIN = 16
_NFNL_MSG_BATCH_END = 17

_SOL_NETLINK = 270
_NETLINK_NO_ENOBUFS = 5
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_NETLINK_GET_STRICT_CHK = 12
_SO_SNDBUFFORCE = 32

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # struct nlattr: length, type
_CODE = struct.Struct("=i")
_TYPE_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER

_BUFFER = 1 << 16  # the kernel fills at most 32 KiB of a dump at a time
_LARGE = 1 << 17  # safely below the smallest send buffer a system starts with
_DUMP_ATTEMPTS = 10
_MANY = 100  # the errors of so many messages fit into the smallest receive buffer


def attribute(kind: int, value: bytes) -> bytes:
    """Return one attribute, padded to four octets."""
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Parse the ``(kind, value)`` pairs in *data*; a truncated one at the end is left out."""
    at = 0
    while at + 4 <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if not 4 <= length <= len(data) - at:
            return
        yield kind & _TYPE_MASK, data[at + 4 : at + length]
        at += length + (-length % 4)


class Netlink:
    """A netlink socket, closed on exec and at the end of its ``with`` block.

    Every refusal of the kernel is an OSError with its errno, and with the text of its extended
    acknowledgement where there is one.
    """

    __slots__ = ("_sequence", "_socket")

    def __init__(self, sock: _socket.socket) -> None:
        self._sequence = 0
        self._socket = sock

    @classmethod
    def create(cls, protocol: int, groups: int = 0) -> Self:
        """Open a socket of *protocol* that joins the multicast groups in the mask *groups*."""
        sock = _socket.socket(_socket.AF_NETLINK, _socket.SOCK_RAW, protocol)
        for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK):
            try:
                sock.setsockopt(_SOL_NETLINK, option, 1)
            except OSError:  # older than Linux 4.20: plainer errors, unfiltered dumps
                continue
        sock.bind((0, groups))
        return cls(sock)

    @classmethod
    def adopt(cls, fd: int) -> Self:
        """Adopt the socket that the predecessor process left open at *fd*."""
        return cls(_socket.socket(fileno=fd))

    def lose_silently(self) -> None:
        """Have no error when the queue is full and the kernel drops messages.

        An error would make the socket refuse more until all that is there has been read, and libuv
        stops to look at a descriptor that has one.
        """
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_NO_ENOBUFS, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def request(self, kind: int, body: bytes, flags: int = 0) -> list[bytes]:
        """Send one request, wait for its acknowledgement, and return the bodies of the answers."""
        self._socket.send(self._message(kind, NLM_F_REQUEST | NLM_F_ACK | flags, body))
        return self._answers()[0]

    def requests(
        self, kind: int, bodies: Iterable[bytes], flags: int = 0, ignored: tuple[int, ...] = ()
    ) -> None:
        """Send a request of *kind* for each of *bodies*, many at a time.

        A failed request does not stop the others.  Raises the first error afterwards, except those
        with an errno in *ignored*.
        """
        several = list(bodies)
        failed: OSError | None = None
        for start in range(0, len(several), _MANY):
            some = several[start : start + _MANY]
            self._socket.send(b"".join(self._message(kind, NLM_F_REQUEST | flags, b) for b in some))
            # As in a batch: all is done when send() returns, and success has no answer.
            for answer, its_flags, _, body in list(self._pending()):
                try:
                    if answer == _NLMSG_ERROR:
                        _check(body, its_flags, _CODE.size + _HEADER.size)
                except OSError as error:
                    if error.errno not in ignored:
                        failed = failed or error
        if failed:
            raise failed

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """Return the bodies of all objects that *body* selects, in a consistent state.

        Raises OSError (EAGAIN) when they changed during each of several attempts.
        """
        for _ in range(_DUMP_ATTEMPTS):
            self._socket.send(self._message(kind, NLM_F_REQUEST | NLM_F_DUMP, body))
            found, interrupted = self._answers()
            if not interrupted:
                return found
        raise OSError(errno.EAGAIN, "the tables kept changing while they were read")

    def batch(self, subsystem: int, commands: Iterable[Command]) -> None:
        """Apply all *commands* to a subsystem of nfnetlink, or none of them.

        Raises the first error.
        """
        edge = struct.pack("!BBH", 0, 0, subsystem)  # struct nfgenmsg
        first = self._sequence + 1
        data = self._message(_NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, edge)
        data += b"".join(self._message(kind, NLM_F_REQUEST | f, body) for kind, f, body in commands)
        data += self._message(_NFNL_MSG_BATCH_END, NLM_F_REQUEST, edge)
        if len(data) > _LARGE:
            self._make_room(len(data))
        self._socket.send(data)
        # When send() returns, the kernel has applied the batch and queued its errors; success has
        # no answer.
        for kind, flags, sequence, body in list(self._pending()):
            if kind == _NLMSG_ERROR and sequence >= first:
                _check(body, flags, _CODE.size + _HEADER.size)

    def _make_room(self, octets: int) -> None:
        self._socket.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDBUF, octets)
        try:
            self._socket.setsockopt(_socket.SOL_SOCKET, _SO_SNDBUFFORCE, octets)
        except PermissionError:
            return  # in a user namespace, where net.core.wmem_max is the limit

    def notifications(self) -> Iterator[tuple[int, bytes]]:
        """Return the ``(kind, body)`` of each notification since the last call, without waiting.

        Raises OSError (ENOBUFS) when the kernel had to drop some.
        """
        for kind, _, _, body in self._pending():
            yield kind, body

    def _message(self, kind: int, flags: int, body: bytes) -> bytes:
        self._sequence += 1
        header = _HEADER.pack(_HEADER.size + len(body), kind, flags, self._sequence, 0)
        return header + body + bytes(-len(body) % 4)

    def _answers(self) -> tuple[list[bytes], bool]:
        """Return the answers to the last message, and whether a change interrupted the dump."""
        found: list[bytes] = []
        interrupted = False
        while True:
            for kind, flags, sequence, body in messages(self._socket.recv(_BUFFER)):
                if sequence != self._sequence:
                    continue  # left over from a request that ended in an error
                interrupted = interrupted or bool(flags & _NLM_F_DUMP_INTR)
                if kind in (_NLMSG_ERROR, _NLMSG_DONE):
                    # An error repeats the header of its request (with NETLINK_CAP_ACK, no more than
                    # that).
                    _check(body, flags, _CODE.size + (kind == _NLMSG_ERROR) * _HEADER.size)
                    return found, interrupted
                found.append(body)

    def _pending(self) -> Iterator[tuple[int, int, int, bytes]]:
        while True:
            try:
                data = self._socket.recv(_BUFFER, _socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            yield from messages(data)


def messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Return the ``(kind, flags, sequence, body)`` of each message in one datagram."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, at)
        yield kind, flags, sequence, data[at + _HEADER.size : at + length]
        at += length + (-length % 4)


def _check(body: bytes, flags: int, attributes_at: int) -> None:
    """Raise the error of an acknowledgement; its attributes start at *attributes_at*."""
    (code,) = _CODE.unpack_from(body)
    if not code:
        return
    reason = os.strerror(-code)
    attrs = dict(attributes(body[attributes_at:])) if flags & _NLM_F_ACK_TLVS else {}
    if _NLMSGERR_ATTR_MSG in attrs:
        reason += f": {attrs[_NLMSGERR_ATTR_MSG].rstrip(bytes(1)).decode(errors='replace')}"
    raise OSError(-code, reason)


def setup_error(step: str, error: OSError, hint: str = "") -> SetupError:
    """Return the SetupError for the kernel's refusal of *step*."""
    if error.errno == errno.EPERM:  # EACCES has other causes, such as IPv6 switched off
        return PermissionNeeded(step, "CAP_NET_ADMIN")
    return SetupError(step, error.strerror or str(error), hint)

"""Packets that nftables copies to a process: ``log group N``, nfnetlink_log in the kernel.

Packets arrive whole, one by one and at once.  The rule itself decides what becomes of a packet in
the kernel, so there is no verdict to return, and nothing waits for a slow or dead process.
"""

from __future__ import annotations

import _socket
import errno
import os
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from faith.kernel.descriptor import Descriptor
from faith.kernel.netlink.netlink import (
    NETLINK_NETFILTER,
    Netlink,
    attribute,
    messages,
    setup_error,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Self

_CONFIG = 4 << 8 | 1  # NFNL_SUBSYS_ULOG, NFULNL_MSG_CONFIG
_PACKET = 4 << 8 | 0
_CFG_CMD, _CFG_MODE, _CFG_BUFFER = 1, 2, 3
_BIND = 1
_COPY_PACKET = 2
_LARGEST_COPY = 0xFFFF - 4  # what an attribute holds
_INDEV, _PAYLOAD = 4, 9
_NFGENMSG = struct.Struct("!BBH")
_ATTRIBUTE = struct.Struct("=HH")

_SMALLEST_BUFFER = 512
"""The smallest buffer in octets that the kernel allows for a message: larger ones would leave room
for fewer messages in the queue."""
_QUEUE = 1 << 21
_MESSAGE = 1 << 17
_SO_RCVBUFFORCE = 33
_GROUPS = range(0x6F00, 0x7000)
"""Groups to choose from: other programs use 0 and the numbers after it."""

_STEP = "log packets"


class PacketLog:
    """The packets of a *group* that *netlink* is bound to.

    Creation needs CAP_NET_ADMIN; reading needs nothing.
    """

    def __init__(self, netlink: Netlink, group: int) -> None:
        self._netlink = netlink
        self.group = group
        self._buffer = bytearray(_MESSAGE)

    @classmethod
    def create(cls) -> Self:
        """Bind a socket to a group of its own.  Raises SetupError."""
        try:
            netlink = Netlink.create(NETLINK_NETFILTER)
        except OSError as error:
            raise setup_error(_STEP, error) from error
        try:
            return cls(netlink, _bind(netlink))
        except OSError as error:
            netlink.close()
            hint = "the kernel must have nfnetlink_log"
            raise setup_error(_STEP, error, hint) from error

    @classmethod
    def adopt(cls, state: Any) -> Self:
        """Adopt the socket whose `state` the predecessor process left."""
        fd, group = state
        return cls(Netlink.adopt(fd), group)

    def state(self) -> Any:
        """Return the state that an upgrade passes to the successor process."""
        return [Descriptor.of(self), self.group]

    def fileno(self) -> int:
        """Return the descriptor, which is readable while packets are queued."""
        return self._netlink.fileno()

    def close(self) -> None:
        """Close the descriptor; the group is free when the last copy is closed."""
        self._netlink.close()

    def read(self, most: int) -> Iterator[tuple[bytes, int]]:
        """Return packets from their IP header on, each with the index of its input interface.

        Reads at most *most* times, without waiting.  Packets that the kernel dropped are not
        reported.
        """
        for _ in range(most):
            try:
                length = os.readv(self.fileno(), [self._buffer])
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                continue
            for kind, _, _, body in messages(bytes(memoryview(self._buffer)[:length])):
                if kind == _PACKET:
                    yield _parsed(body)


def _parsed(body: bytes) -> tuple[bytes, int]:
    """Return the packet in the *body* of a message, and its input interface.

    Of the attributes, nearly ten, no others are taken out: this is done for every packet.
    """
    packet, interface, at = b"", 0, _NFGENMSG.size
    while at < len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, at)
        if kind == _PAYLOAD:
            packet = body[at + _ATTRIBUTE.size : at + length]
        elif kind == _INDEV:
            interface = int.from_bytes(body[at + _ATTRIBUTE.size : at + length], "big")
        at += length + 3 & ~3
    return packet, interface


def _bind(netlink: Netlink) -> int:
    """Bind *netlink* to a free group, and return its number.  Raises OSError."""
    group = _first_free(netlink)
    mode = struct.pack("!IBx", _LARGEST_COPY, _COPY_PACKET)
    _configure(netlink, group, attribute(_CFG_MODE, mode))
    size = attribute(_CFG_BUFFER, _SMALLEST_BUFFER.to_bytes(4, "big"))
    _configure(netlink, group, size)
    _lengthen_queue(netlink.fileno())
    netlink.lose_silently()
    os.set_blocking(netlink.fileno(), False)
    return group


def _first_free(netlink: Netlink) -> int:
    """Bind *netlink* to a group that is free; return that group.  Raises OSError.

    For a group that another socket has, the kernel answers EPERM, as it does without
    CAP_NET_ADMIN: only when every group is refused, the right is what is missing.
    """
    first = os.getpid() % len(_GROUPS)
    *some, last = *_GROUPS[first:], *_GROUPS[:first]
    for group in some:
        with suppress(PermissionError):
            _configure(netlink, group, attribute(_CFG_CMD, bytes([_BIND])))
            return group
    _configure(netlink, last, attribute(_CFG_CMD, bytes([_BIND])))
    return last


def _configure(netlink: Netlink, group: int, value: bytes) -> None:
    netlink.request(_CONFIG, _NFGENMSG.pack(0, 0, group) + value)


def _lengthen_queue(fd: int) -> None:
    sock = _socket.socket(fileno=os.dup(fd))
    sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF, _QUEUE)
    with suppress(PermissionError):  # in a user namespace, where net.core.rmem_max is the limit
        sock.setsockopt(_socket.SOL_SOCKET, _SO_RCVBUFFORCE, _QUEUE)
    sock.close()

"""Packets that nftables hands to a process: ``log group N``, nfnetlink_log in the kernel.

They come whole, one by one and at once.  What becomes of them in the kernel is for the rule to
say, so there is no verdict to give, and nothing waits for a process that is slow or dead.
"""

from __future__ import annotations

import _socket
import errno
import os
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from faith.kernel.netlink.netlink import (
    NETLINK_NETFILTER,
    Netlink,
    attribute,
    attributes,
    messages,
    setup_error,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

_CONFIG = 4 << 8 | 1  # NFNL_SUBSYS_ULOG, NFULNL_MSG_CONFIG
_PACKET = 4 << 8 | 0
_CFG_CMD, _CFG_MODE, _CFG_BUFFER = 1, 2, 3
_BIND = 1
_COPY_PACKET = 2
_LARGEST_COPY = 0xFFFF - 4  # what an attribute holds
_INDEV, _PAYLOAD = 4, 9
_NFGENMSG = struct.Struct("!BBH")

_SMALLEST_BUFFER = 512
"""Octets that the kernel takes for a message at least: with more, fewer would fit in a queue."""
_QUEUE = 1 << 21
_MESSAGE = 1 << 17
_SO_RCVBUFFORCE = 33
_GROUPS = range(0x6F00, 0x7000)
"""Groups to choose from: somebody else has 0 and those near it, if anybody has any."""

_STEP = "log packets"


class PacketLog:
    """Reads the packets of a *group* that nobody else has.  Raises SetupError.

    It takes CAP_NET_ADMIN to make one, and nothing to read.
    """

    def __init__(self) -> None:
        try:
            netlink = Netlink(NETLINK_NETFILTER)
        except OSError as error:
            raise setup_error(_STEP, error) from error
        try:
            self._have(netlink, _bind(netlink))
        except OSError as error:
            netlink.close()
            hint = "the kernel must have nfnetlink_log"
            raise setup_error(_STEP, error, hint) from error

    @classmethod
    def resume(cls, fd: int, group: int) -> Self:
        """The one whose descriptor came from the program before this one."""
        made = cls.__new__(cls)
        made._have(Netlink.resume(fd), group)
        return made

    def _have(self, netlink: Netlink, group: int) -> None:
        self._netlink = netlink
        self.group = group
        self._buffer = bytearray(_MESSAGE)

    def fileno(self) -> int:
        """The descriptor, which becomes readable with the first packet."""
        return self._netlink.fileno()

    def copy(self) -> PacketLog:
        """Another one for the same packets, which each come to one of them only."""
        return self.resume(os.dup(self.fileno()), self.group)

    def close(self) -> None:
        """Close the descriptor; the group is free again with the last copy."""
        self._netlink.close()

    def read(self, most: int) -> Iterator[tuple[bytes, int]]:
        """Packets from their IP header on, and the index of the interface each came by.

        At most *most* reads, and no waiting.  What the kernel had to drop is not heard of.
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
                    told = dict(attributes(body[_NFGENMSG.size :]))
                    yield told.get(_PAYLOAD, b""), int.from_bytes(told.get(_INDEV, b""), "big")


def _bind(netlink: Netlink) -> int:
    """Have *netlink* get the packets of a free group; return that group.  Raises OSError."""
    group = _first_free(netlink)
    mode = struct.pack("!IBx", _LARGEST_COPY, _COPY_PACKET)
    _configure(netlink, group, attribute(_CFG_MODE, mode))
    size = attribute(_CFG_BUFFER, _SMALLEST_BUFFER.to_bytes(4, "big"))
    _configure(netlink, group, size)
    _lengthen_queue(netlink.fileno())
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

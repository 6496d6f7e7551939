"""The TCP sockets that listen for addresses that are not the host's (IPV6_TRANSPARENT).

The guard lets them have the connections to a prefix: a faithd's, and those that systemd opens for
it (``Transparent=yes``).  The kernel tells of them by sock_diag(7), since Linux 5.10.
"""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING

from faith.kernel.netlink.netlink import Netlink, attributes

if TYPE_CHECKING:
    from collections.abc import Iterator

_NETLINK_SOCK_DIAG = 4
_BY_FAMILY = 20
_AF_INET6, _TCP = 10, 6
_LISTEN = 1 << 10  # TCP_LISTEN
_REQUEST = struct.Struct("=BBBxI48x")  # struct inet_diag_req_v2
_ANSWER = struct.Struct("!4xH66x")  # struct inet_diag_msg, and the port in it
_ADDRESS = slice(8, 24)
_SOCKOPT = 22  # INET_DIAG_SOCKOPT
_TRANSPARENT = 1 << 5 if sys.byteorder == "little" else 0x80 >> 5  # the sixth bit-field


def ports() -> list[int]:
    """Return the ports of those that listen on ``[::]``, ascending.

    Raises OSError where the kernel does not tell.
    """
    return sorted(set(_found()))


def _found() -> Iterator[int]:
    with Netlink.create(_NETLINK_SOCK_DIAG) as netlink:
        for body in netlink.dump(_BY_FAMILY, _REQUEST.pack(_AF_INET6, _TCP, 0, _LISTEN)):
            options = dict(attributes(body[_ANSWER.size :])).get(_SOCKOPT, bytes(1))
            if options[0] & _TRANSPARENT and not any(body[_ADDRESS]):
                yield _ANSWER.unpack_from(body)[0]

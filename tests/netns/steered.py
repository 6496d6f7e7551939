"""The steering of two prefixes on the lab's gateway, for the tests of nftables' methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.translation.ports import Ports
from faith.translation.prefix import Prefix

if TYPE_CHECKING:
    import _socket

    from faith.kernel.steering import Steering

PREFIX = Prefix.parse("2001:db8:ffff::/96")
OTHER = Prefix.parse("2001:db8:fffe::/96")
MAPPED = "2001:db8:ffff::c000:250"
ALSO_MAPPED = "2001:db8:fffe::c000:250"
HTTP = Ports([(80, 80)])
ALL = Ports([(1, 65535)])


def everyone(steering: Steering) -> list[_socket.socket]:
    """The listeners of all workers."""
    return [listener for worker in steering.listeners for listener in worker]

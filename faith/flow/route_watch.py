"""Changes of routes, links, addresses and rules, as the kernel notifies of them."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from faith.kernel.netlink.netlink import NETLINK_ROUTE, Netlink

if TYPE_CHECKING:
    from typing import Self

# linux/rtnetlink.h: links, and addresses, routes and rules of both versions
_GROUPS = sum(1 << group - 1 for group in (1, 5, 7, 8, 9, 11, 19))
_MOST = 1024


class RouteWatch:
    """A socket that is readable when routes may have changed."""

    def __init__(self, netlink: Netlink) -> None:
        self._netlink = netlink

    @classmethod
    def create(cls) -> Self:
        """Open the socket, which needs no privilege.  Raises OSError."""
        netlink = Netlink.create(NETLINK_ROUTE, _GROUPS)
        netlink.lose_silently()  # where some are lost, others are there to be read
        return cls(netlink)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._netlink.fileno()

    def close(self) -> None:
        """Close the descriptor."""
        self._netlink.close()

    def changed(self) -> bool:
        """Consume notifications, a bounded number, and return whether there were any."""
        return sum(1 for _ in islice(self._netlink.notifications(), _MOST)) > 0

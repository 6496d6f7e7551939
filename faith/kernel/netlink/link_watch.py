"""Notifications of this host's interfaces: new ones, vanished ones, changes of their state."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from faith.kernel.netlink.netlink import NETLINK_ROUTE, Netlink

if TYPE_CHECKING:
    from typing import Self

_LINK = 1  # RTMGRP_LINK


class LinkWatch:
    """A watch on the interfaces: wait until ``fileno()`` is readable, then call `drain`."""

    def __init__(self, netlink: Netlink) -> None:
        self._netlink = netlink

    @classmethod
    def create(cls) -> Self:
        """Start to watch.  Raises OSError."""
        return cls(Netlink.create(NETLINK_ROUTE, _LINK))

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._netlink.fileno()

    def drain(self) -> None:
        """Consume all notifications, those that the kernel had to drop included."""
        while True:
            try:
                for _ in self._netlink.notifications():
                    pass
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise

    def close(self) -> None:
        """Watch no more."""
        self._netlink.close()

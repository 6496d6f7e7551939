"""The links, addresses and routes of a host.

The one module that uses pyroute2, which is slow to import and has no types.
"""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from ipaddress import ip_interface
from typing import TYPE_CHECKING, Any

from faith.errors import SetupError

if TYPE_CHECKING:
    from faith.lab.resident import Resident

_IFA_F_NODAD = 0x02
_IFA_F_TENTATIVE = 0x40
_RTM_F_CLONED = 0x200


class Links:
    """The configuration of a host that ip(8) would change.  Methods that change it raise
    SetupError."""

    def __init__(self, resident: Resident) -> None:
        self._resident = resident
        self._netlink: Any = None

    def close(self) -> None:
        """Close the netlink socket, unless its thread is stuck."""
        if self._netlink:
            with suppress(TimeoutError):
                self._resident.call(self._netlink.close, timeout=1)

    def join(self, device: str, namespace: int, peer: str, mtu: int = 1500) -> None:
        """Make a veth pair: *device* here, *peer* in the namespace of the descriptor
        *namespace*."""
        end = {"ifname": peer, "mtu": mtu, "net_ns_fd": namespace}
        self._ask("link", "add", kind="veth", ifname=device, mtu=mtu, peer=end)

    def up(self, device: str) -> None:
        """Set *device* up."""
        self._ask("link", "set", index=self._index(device), state="up")

    def is_up(self, device: str) -> bool:
        """Return whether packets can leave by *device*: it, its peer and its addresses are up."""
        index = self._index(device)
        (link,) = self._ask("get_links", index)
        return link.get_attr("IFLA_OPERSTATE") == "UP" and not any(
            address.get_attr("IFA_FLAGS") & _IFA_F_TENTATIVE
            for address in self._ask("get_addr")
            if address["index"] == index
        )

    def add_address(self, device: str, address: str) -> None:
        """Add ``ADDRESS/LENGTH``, usable at once: without duplicate address detection."""
        interface = ip_interface(address)
        self._ask(
            "addr",
            "add",
            index=self._index(device),
            address=str(interface.ip),
            prefixlen=interface.network.prefixlen,
            flags=_IFA_F_NODAD if interface.version == 6 else 0,
        )

    def add_route(self, destination: str, via: str) -> None:
        """Add a route to a network, or ``default``, through the gateway *via*."""
        family = socket.AF_INET6 if ":" in via else socket.AF_INET
        self._ask("route", "add", dst=destination, gateway=via, family=family)

    def addresses(self) -> list[str]:
        """Return every address as ``ADDRESS/LENGTH``, sorted."""
        return sorted(
            f"{address.get_attr('IFA_ADDRESS')}/{address['prefixlen']}"
            for address in self._ask("get_addr")
        )

    def routes(self) -> list[str]:
        """Return every route of every table as a line like those of ip-route(8), sorted."""
        routes = [route for route in self._ask("get_routes") if not route["flags"] & _RTM_F_CLONED]
        return sorted(self._resident.call(lambda: [_line(route) for route in routes]))

    def _index(self, device: str) -> int:
        try:
            return self._resident.call(socket.if_nametoindex, device)
        except OSError as error:
            raise SetupError(
                f"{device} on {self._resident.name}", error.strerror or str(error)
            ) from error

    def _ask(self, *verb: Any, **what: Any) -> Any:
        from pyroute2.netlink.exceptions import NetlinkError

        try:
            return self._resident.call(lambda: self._ask_here(*verb, **what))
        except NetlinkError as error:
            step = " ".join(map(str, (*verb, what, "on", self._resident.name)))
            raise SetupError(step, os.strerror(error.code or errno.EIO)) from error

    def _ask_here(self, verb: str, *arguments: Any, **what: Any) -> Any:
        from pyroute2 import IPRoute

        if not self._netlink:
            self._netlink = IPRoute()
        answer = getattr(self._netlink, verb)(*arguments, **what)
        return answer if verb in ("link", "addr", "route") else list(answer)


def _line(route: Any) -> str:
    from pyroute2.netlink.rtnl import rt_type

    destination = route.get_attr("RTA_DST")
    words = [rt_type[route["type"]]]
    words.append(f"{destination}/{route['dst_len']}" if destination else "default")
    if gateway := route.get_attr("RTA_GATEWAY"):
        words += ["via", gateway]
    if index := route.get_attr("RTA_OIF"):
        words += ["dev", socket.if_indextoname(index)]
    words += ["table", str(route.get_attr("RTA_TABLE")), "proto", str(route["proto"])]
    if metric := route.get_attr("RTA_PRIORITY"):
        words += ["metric", str(metric)]
    return " ".join(words)

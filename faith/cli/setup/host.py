"""What can be seen of this host that its configuration depends on."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from faith.dns.endpoint import in_resolv_conf
from faith.dns.servers import RESOLV_CONF
from faith.kernel import capabilities, interfaces, routes, rtnetlink
from faith.kernel.netlink import NETLINK_ROUTE, Netlink

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.kernel.interfaces import Own
    from faith.translation.prefix import Prefix


@dataclass(frozen=True)
class Host:
    """The addresses of each interface but loopback, and more.

    *outside* are the interfaces with an IPv4 default route, *servers* those of resolv.conf(5) but
    for these addresses, and *rights* the capabilities of who asks.
    """

    addresses: dict[str, list[Own]]
    outside: tuple[str, ...] = ()
    reserved: tuple[Prefix, ...] = ()
    servers: tuple[str, ...] = ()
    rights: frozenset[str] = frozenset()

    @classmethod
    def look(cls) -> Host:
        """This host as it is now.  Raises OSError."""
        with Netlink(NETLINK_ROUTE) as netlink:
            links = rtnetlink.links(netlink)
            main = list(rtnetlink.routes(netlink, rtnetlink.AF_INET, rtnetlink.TABLE_MAIN))
        names = {index: link.name for index, link in links.items() if index != rtnetlink.LOOPBACK}
        addresses: dict[str, list[Own]] = {name: [] for name in names.values()}
        for own in interfaces.addresses():
            if own.interface in names and not own.is_link_local:
                addresses[names[own.interface]].append(own)
        defaults = {names.get(route.interface) for route in main if not route.length}
        outside = tuple(name for name in addresses if name in defaults)
        servers = tuple(_servers(own for found in addresses.values() for own in found))
        rights = capabilities.effective()
        return cls(addresses, outside, tuple(routes.reserved()), servers, rights)

    def with_addresses(self, version: int) -> list[str]:
        """The interfaces with an address of that IP version."""
        return [
            name
            for name, found in self.addresses.items()
            if any(own.address.version == version for own in found)
        ]

    def inside(self) -> list[str]:
        """The interfaces where IPv6 clients probably are: not those outside, if possible."""
        found = self.with_addresses(6)
        return [name for name in found if name not in self.outside] or found

    def towards_ipv4(self) -> list[str]:
        """The interfaces that probably lead to IPv4 servers."""
        found = self.with_addresses(4)
        return [name for name in found if name in self.outside] or found

    def own(self, names: Iterable[str], version: int) -> list[Own]:
        """The addresses of some interfaces, of one IP version."""
        found = [own for name in names for own in self.addresses.get(name, ())]
        return [own for own in found if own.address.version == version]


def _servers(own: Iterable[Own]) -> list[str]:
    """The servers of resolv.conf(5), but for this host: it will be one itself, and ask others."""
    try:
        found = in_resolv_conf(RESOLV_CONF.read_text(errors="replace"))
    except OSError:
        return []
    known = {each.address for each in own}
    return [server.host for server in found if ip_address(server.host) not in known]

"""The facts about this host that its configuration depends on."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from faith.dns.endpoint import in_resolv_conf
from faith.dns.upstream_servers import RESOLV_CONF
from faith.kernel import text_file
from faith.kernel.netlink import interfaces, routes, rtnetlink
from faith.kernel.netlink.netlink import NETLINK_ROUTE, Netlink
from faith.kernel.process import capabilities

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.kernel.netlink.interfaces import OwnAddress
    from faith.translation.prefix import Prefix


@dataclass(frozen=True)
class Host:
    """The addresses of each interface except loopback, and more.

    *outside* are the interfaces with an IPv4 default route, *servers* those of resolv.conf(5)
    except these addresses, and *rights* the capabilities of this process.
    """

    addresses: dict[str, list[OwnAddress]]
    outside: tuple[str, ...] = ()
    reserved: tuple[Prefix, ...] = ()
    servers: tuple[str, ...] = ()
    rights: frozenset[str] = frozenset()

    @classmethod
    def look(cls) -> Host:
        """Return the facts about this host now.  Raises OSError."""
        with Netlink(NETLINK_ROUTE) as netlink:
            links = rtnetlink.links(netlink)
            main = list(rtnetlink.routes(netlink, rtnetlink.AF_INET, rtnetlink.TABLE_MAIN))
        names = {index: link.name for index, link in links.items() if index != rtnetlink.LOOPBACK}
        addresses: dict[str, list[OwnAddress]] = {name: [] for name in names.values()}
        for own in interfaces.addresses():
            if own.interface in names and not own.is_link_local:
                addresses[names[own.interface]].append(own)
        defaults = {names.get(route.interface) for route in main if not route.length}
        outside = tuple(name for name in addresses if name in defaults)
        servers = tuple(_servers(own for found in addresses.values() for own in found))
        rights = capabilities.effective()
        return cls(addresses, outside, tuple(routes.reserved()), servers, rights)

    def with_addresses(self, version: int) -> list[str]:
        """Return the interfaces with an address of that IP version."""
        return [
            name
            for name, found in self.addresses.items()
            if any(own.address.version == version for own in found)
        ]

    def inside(self) -> list[str]:
        """Return the interfaces where IPv6 clients probably are: if possible, none of the *outside*
        ones."""
        found = self.with_addresses(6)
        return [name for name in found if name not in self.outside] or found

    def towards_ipv4(self) -> list[str]:
        """Return the interfaces that probably lead to IPv4 servers."""
        found = self.with_addresses(4)
        return [name for name in found if name in self.outside] or found

    def own(self, names: Iterable[str], version: int) -> list[OwnAddress]:
        """Return the addresses of some interfaces, of one IP version."""
        found = [own for name in names for own in self.addresses.get(name, ())]
        return [own for own in found if own.address.version == version]


def _servers(own: Iterable[OwnAddress]) -> list[str]:
    """The servers of resolv.conf(5), but for this host: it will be one itself, and ask others."""
    try:
        found = in_resolv_conf(text_file.read_leniently(RESOLV_CONF))
    except OSError:
        return []
    known = {each.address for each in own}
    return [server.host for server in found if ip_address(server.host) not in known]

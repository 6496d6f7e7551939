"""The addresses of this host's interfaces, IPv4 and IPv6, and the networks on their links.

Reading needs no privilege.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from faith.kernel.netlink.netlink import NETLINK_ROUTE, Netlink, attributes
from faith.kernel.netlink.rtnetlink import AF_INET, AF_INET6, RTM_GETADDR
from faith.translation.address import IPV4_MAPPED

TYPE_CHECKING = False
if TYPE_CHECKING:
    Address = IPv4Address | IPv6Address
    Network = IPv4Network | IPv6Network

_IFADDRMSG = struct.Struct("=BBBBI")  # family, length, flags, scope, interface
_IFA_ADDRESS = 1
_IFA_LOCAL = 2


class OwnAddress:
    """An address of the interface with the index *interface*, and the *network* on its link.

    The network of a point-to-point link is the far end alone.
    """

    __slots__ = ("address", "interface", "network")

    def __init__(self, body: bytes) -> None:
        family, length, _, _, self.interface = _IFADDRMSG.unpack_from(body)
        attrs = dict(attributes(body[_IFADDRMSG.size :]))
        # equals the address itself, except on a point-to-point link
        far_end = attrs.get(_IFA_ADDRESS, b"")
        own = attrs.get(_IFA_LOCAL, far_end)
        self.address: Address
        self.network: Network
        if family == AF_INET:
            self.address = IPv4Address(own)
            self.network = IPv4Network((far_end or own, length), strict=False)
        else:
            self.address = IPv6Address(own)
            self.network = IPv6Network((far_end or own, length), strict=False)

    @property
    def is_link_local(self) -> bool:
        """True if this is an IPv6 address that is valid on its link only."""
        return self.address.version == 6 and self.address.is_link_local


def addresses() -> list[OwnAddress]:
    """Return all addresses of all interfaces, loopback included."""
    found = []
    with Netlink.create(NETLINK_ROUTE) as netlink:
        for family in (AF_INET, AF_INET6):
            bodies = netlink.dump(RTM_GETADDR, _IFADDRMSG.pack(family, 0, 0, 0, 0))
            found += [OwnAddress(body) for body in bodies if body[0] == family]
    return found


def connected() -> list[tuple[int, int]]:
    """Return the networks on the links of all interfaces, and this host's addresses.

    They are ``(network, length)`` pairs of 128 bits, IPv4 as IPv4-mapped.  A network of length 0
    says nothing about who is on a link, and is left out.
    """
    found = dict.fromkeys(
        pair
        for own in addresses()
        for pair in (
            _of_128_bits(int(own.network.network_address), own.network.prefixlen, own),
            _of_128_bits(int(own.address), own.address.max_prefixlen, own),
        )
        if own.network.prefixlen
    )
    return sorted(found)


def _of_128_bits(address: int, length: int, own: OwnAddress) -> tuple[int, int]:
    return (address, length) if own.address.version == 6 else (IPV4_MAPPED | address, 96 + length)

"""ICMP errors for the sender of the packet that they quote."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from faith.datagram import icmp
from faith.datagram.packet import MOST_V4, Packet, read_v4, read_v6, write_v4, write_v6
from faith.datagram.send import Send
from faith.translation.destination import NOT_GLOBAL_DESTINATIONS

if TYPE_CHECKING:
    from faith.datagram.icmp import Error, Message
    from faith.translation.destination import Policy
    from faith.translation.prefix import Prefix

QUOTED_V6 = 1280 - 40 - icmp.HEADER
"""Octets of a packet that fit into an ICMPv6 error about it (RFC 4443 §2.4 c)."""
QUOTED_V4 = 576 - 20 - icmp.HEADER
"""Octets of a packet that fit into an ICMP error about it (RFC 1812 §4.3.2.3)."""
LEAST = 8
"""Octets of a payload that must be quoted (RFC 792): ports, or an identifier, and a checksum."""

NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH)
"""The errors of sending without a route."""


# -- errors of the gateway itself ----------------------------------------------------------------


def tell_v6(error: Error, octets: bytes, to: int, scope: int = 0) -> Send:
    """Return the ICMPv6 *error* about the packet *octets* for its sender *to*.

    *scope* is the interface index of a link-local sender.
    """
    message = icmp.write(icmp.Message(*error, octets[:QUOTED_V6]))
    return Send(True, None, to, message, scope=scope)


def tell_v4(error: Error, octets: bytes, to: int) -> Send:
    """Return the ICMP *error* about the packet *octets* for its sender *to*."""
    return Send(False, None, to, icmp.write(icmp.Message(*error, octets[:QUOTED_V4])))


# -- errors of other hosts -----------------------------------------------------------------------


def about_v4(error: Message, protocol: int) -> Packet | None:
    """Return the packet that an ICMP error quotes, None unless it is of *protocol* and
    long enough."""
    return _enough(read_v4(icmp.original_v4(error)), protocol)


def about_v6(error: Message, protocol: int) -> Packet | None:
    """Return the packet that an ICMPv6 error quotes, as `about_v4` does.

    A packet longer than IPv4 allows did not come from IPv4, and is None as well.
    """
    found = _enough(read_v6(icmp.original_v6(error)), protocol)
    return found if found and found.length <= MOST_V4 else None


def pass_on_v6(error: Error, about: Packet, teller: int | None, hops: int, scope: int) -> Send:
    """Return a translated *error* for the sender of *about*, from *teller*, or from the gateway
    itself.

    The error arrived with *hops* left; *scope* is as in `tell_v6`.
    """
    message = icmp.write(icmp.Message(*error, write_v6(about)[:QUOTED_V6]))
    return Send(True, teller, about.source, message, max(hops - 1, 1), scope=scope)


def pass_on_v4(error: Error, about: Packet, teller: int | None, hops: int) -> Send:
    """Return a translated *error* for the IPv4 sender of *about*, as `pass_on_v6` does."""
    message = icmp.write(icmp.Message(*error, write_v4(about)[:QUOTED_V4]))
    return Send(False, teller, about.source, message, max(hops - 1, 1))


def teller_v6(v4: int, prefix: Prefix, policy: Policy) -> int | None:
    """Return the mapped address of the host *v4* that reports an error.

    None when that is the gateway itself, or an address that the prefix must not map (RFC 6052
    §3.1).
    """
    if v4 in policy.own or (prefix.well_known and v4 in NOT_GLOBAL_DESTINATIONS):
        return None
    return prefix.map(v4)


def _enough(packet: Packet | None, protocol: int) -> Packet | None:
    if packet is None or packet.protocol != protocol or len(packet.payload) < LEAST:
        return None
    return packet

"""ICMP errors on their way to whoever has sent what they are about: by what they quote of it."""

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
"""The same of an ICMP error (RFC 1812 §4.3.2.3)."""
LEAST = 8
"""Octets of its payload that must be there (RFC 792): ports, or an identifier, and a checksum."""

NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH)
"""What sending fails with when no route leads there."""


# -- of our own ----------------------------------------------------------------------------------


def tell_v6(error: Error, octets: bytes, to: int, scope: int = 0) -> Send:
    """*error* of ours about the packet that *octets* are, for *to*, which has sent it.

    *scope* is the interface of a link-local one.
    """
    message = icmp.write(icmp.Message(*error, octets[:QUOTED_V6]))
    return Send(True, None, to, message, scope=scope)


def tell_v4(error: Error, octets: bytes, to: int) -> Send:
    """The same to an IPv4 host."""
    return Send(False, None, to, icmp.write(icmp.Message(*error, octets[:QUOTED_V4])))


# -- of others -----------------------------------------------------------------------------------


def about_v4(error: Message, protocol: int) -> Packet | None:
    """What an ICMP error is about, if that is of *protocol* and enough of it is there."""
    return _enough(read_v4(icmp.original_v4(error)), protocol)


def about_v6(error: Message, protocol: int) -> Packet | None:
    """The same of an ICMPv6 error about what came from IPv4, so fits into a packet there."""
    found = _enough(read_v6(icmp.original_v6(error)), protocol)
    return found if found and found.length <= MOST_V4 else None


def pass_on_v6(error: Error, about: Packet, teller: int | None, hops: int, scope: int) -> Send:
    """A translated *error*, for who has sent *about*, from *teller*, or from us.

    It had *hops* left; *scope* is as in `tell_v6`.
    """
    message = icmp.write(icmp.Message(*error, write_v6(about)[:QUOTED_V6]))
    return Send(True, teller, about.source, message, max(hops - 1, 1), scope=scope)


def pass_on_v4(error: Error, about: Packet, teller: int | None, hops: int) -> Send:
    """The same to an IPv4 host."""
    message = icmp.write(icmp.Message(*error, write_v4(about)[:QUOTED_V4]))
    return Send(False, teller, about.source, message, max(hops - 1, 1))


def teller_v6(v4: int, prefix: Prefix, policy: Policy) -> int | None:
    """The address under *prefix* of who reports an error.

    None when that is the gateway itself, or may have none there (RFC 6052 §3.1).
    """
    if v4 in policy.own or (prefix.well_known and v4 in NOT_GLOBAL_DESTINATIONS):
        return None
    return prefix.map(v4)


def _enough(packet: Packet | None, protocol: int) -> Packet | None:
    if packet is None or packet.protocol != protocol or len(packet.payload) < LEAST:
        return None
    return packet

"""ICMP errors for the sender of the packet that they quote."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from faith.datagram import icmp
from faith.datagram.packet import MOST_V4, Packet
from faith.datagram.send import Send
from faith.translation.destination import NOT_GLOBAL_DESTINATIONS

if TYPE_CHECKING:
    from faith.datagram.icmp import Error, IpVersion, Message
    from faith.translation.destination import Policy
    from faith.translation.prefix import Prefix

LEAST = 8
"""Octets of a payload that must be quoted (RFC 792): ports, or an identifier, and a checksum."""

NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH)
"""The errors of sending without a route."""


def error_for(version: IpVersion, error: Error, octets: bytes, to: int, scope: int = 0) -> Send:
    """Return an *error* of the gateway's own about the packet *octets* for its sender *to*.

    *scope* is the interface index of a link-local sender.
    """
    message = icmp.write(icmp.Message(*error, octets[: version.quoted]))
    return Send(version.is_v6, None, to, message, scope=scope)


def about(version: IpVersion, error: Message, protocol: int) -> Packet | None:
    """Return the packet that an error of *version* quotes.

    None unless it is of *protocol*, quoted long enough, and no longer than IPv4 allows: it would
    not have come from there.
    """
    packet = version.read(version.original(error))
    if packet is None or packet.protocol != protocol or packet.length > MOST_V4:
        return None
    return packet if len(packet.payload) >= LEAST else None


def quoted(version: IpVersion, packet: Packet, protocol: int) -> tuple[Packet, Error] | None:
    """Return the packet that an error in *packet* is `about`, and the error translated, or None."""
    error = version.message(packet)
    inner = about(version, error, protocol) if error else None
    if error is None or inner is None:
        return None
    translated = version.translate(error, inner)
    return None if translated is None else (inner, translated)


def pass_on(
    version: IpVersion,
    error: Error,
    about: Packet,
    reporter: int | None,
    packet: Packet,
    scope: int = 0,
) -> Send:
    """Return an *error* translated into *version* for the sender of *about*.

    It is sent from *reporter*, or from the gateway itself if that is None.  The error arrived in
    *packet*; *scope* is as in `error_for`.
    """
    message = icmp.write(icmp.Message(*error, version.write(about)[: version.quoted]))
    hops = max(packet.hops - 1, 1)
    return Send(version.is_v6, reporter, about.source, message, hops, packet.traffic_class, scope)


def reporter_v6(v4: int, prefix: Prefix, policy: Policy) -> int | None:
    """Return the mapped address of the host *v4* that reports an error.

    None when that is the gateway itself, or an address that the prefix must not map (RFC 6052
    §3.1).
    """
    if v4 in policy.own or (prefix.well_known and v4 in NOT_GLOBAL_DESTINATIONS):
        return None
    return prefix.map(v4)

"""Datagrams of UDP ASSOCIATE, behind a header that says where they go to (RFC 1928 §7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from faith.errors import FaithError
from faith.proxy import socks_address
from faith.proxy.asked_target import BadTarget
from faith.proxy.socks_address import UnknownAddressType

if TYPE_CHECKING:
    from faith.proxy.proxy_events import Target

LONGEST_HEADER = 3 + 1 + 16 + 2
"""Octets before the data of a datagram that comes from an IPv6 address."""
_BEFORE = b"\0\0\0"
"""Two reserved octets, and the number of the fragment."""


class BadDatagram(FaithError):
    """A datagram of a client that is to be dropped; the text says why."""


class SocksDatagram(NamedTuple):
    """A datagram with the *target* it is for, or which it comes from, and its *data*."""

    target: Target
    data: bytes


def parse(octets: bytes) -> SocksDatagram:
    """Return the datagram that a client sent as *octets*.

    Raises BadDatagram for a fragment, which the RFC lets a relay drop, and for a target that is
    none.  The reserved octets are not looked at.
    """
    if len(octets) <= len(_BEFORE):
        raise BadDatagram("the datagram is shorter than its header")
    if octets[2]:
        raise BadDatagram("the datagram is a fragment, which are not put together")
    try:
        found = socks_address.read(octets, len(_BEFORE))
    except (BadTarget, UnknownAddressType) as error:
        raise BadDatagram(str(error)) from None
    if found is None:
        raise BadDatagram("the datagram is shorter than its header")
    target, end = found
    if not target.port:
        raise BadDatagram("port 0 is not between 1 and 65535")
    return SocksDatagram(target, octets[end:])


def make(host: str, port: int, data: bytes) -> bytes:
    """Return *data* that came from *port* of *host*, an address in text, as a client gets it."""
    return _BEFORE + socks_address.made(host, port) + data

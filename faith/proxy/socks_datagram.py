"""Datagrams of UDP ASSOCIATE, behind a header that says where they go to (RFC 1928 §7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.errors import FaithError
from faith.proxy import socks_address
from faith.proxy.asked_target import BadTarget
from faith.proxy.socks_address import UnknownAddressType

if TYPE_CHECKING:
    from faith.proxy.proxy_events import Target

_BEFORE = b"\0\0\0"
"""Two reserved octets, and the number of the fragment."""
_KIND = len(_BEFORE)
_NAME = 3
_ENDS = {1: _KIND + 1 + 4 + 2, 4: _KIND + 1 + 16 + 2}
"""Octets of a header by the type of its address, but for names."""
LONGEST_HEADER = _ENDS[4]
"""Octets before the data of a datagram that comes from an IPv6 address."""


class BadDatagram(FaithError):
    """A datagram of a client that is to be dropped; the text says why."""


class Fragment(BadDatagram):
    """A fragment of a datagram: the RFC lets a relay drop them."""


def header_end(octets: bytes) -> int:
    """Return where the data of a client's datagram begin, behind its header.

    The header is not read.  Its reserved octets are not looked at.  Raises Fragment, and
    BadDatagram where there is no whole header.
    """
    if len(octets) > _KIND + 1:
        if octets[2]:
            raise Fragment("the datagram is a fragment, which are not put together")
        kind = octets[_KIND]
        end = _KIND + 2 + octets[_KIND + 1] + 2 if kind == _NAME else _ENDS.get(kind)
        if end is None:
            raise BadDatagram(f"address type {kind} is not 1 (IPv4), 3 (a name) or 4 (IPv6)")
        if len(octets) >= end:
            return end
    raise BadDatagram("the datagram is shorter than its header")


def target(header: bytes) -> Target:
    """Return where a datagram with that whole *header* is to be sent.

    Raises BadDatagram for a target that is none.
    """
    try:
        found = socks_address.read(header, _KIND)
    except (BadTarget, UnknownAddressType) as error:
        raise BadDatagram(str(error)) from None
    if found is None:
        raise BadDatagram("the datagram is shorter than its header")
    if not found[0].port:
        raise BadDatagram("port 0 is not between 1 and 65535")
    return found[0]


def header(host: str, port: int) -> bytes:
    """Return what a client gets before the data that came from *port* of *host*, an address in
    text."""
    return _BEFORE + socks_address.made(host, port)

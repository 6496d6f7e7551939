"""Fields that are for the next hop alone, and do not pass through a proxy (RFC 9110 §7.6.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.proxy.http_head import values

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.proxy.http_head import Field

HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    )
)
END_TO_END = frozenset((b"cache-control", b"host", b"content-length", b"max-forwards", b"via"))
"""Fields that stay, or are the proxy's own to write, even if Connection names them."""

_NOT_IN_TRAILERS = HOP_BY_HOP | {
    b"authorization",
    b"cache-control",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"expect",
    b"host",
    b"max-forwards",
    b"range",
    b"set-cookie",
    b"trailer",
    b"via",
}
"""Fields that say how a message is framed, routed, read or answered (RFC 9110 §6.5.1)."""


def listed(fields: Iterable[Field], name: bytes) -> list[bytes]:
    """Return the members of all fields called *name*, which are lists, in lower case."""
    found = values(fields, name)
    if not found:
        return found
    members = [member.strip(b" \t").lower() for value in found for member in value.split(b",")]
    return [member for member in members if member]


def end_to_end(fields: Iterable[Field], left_out: Iterable[bytes] = ()) -> list[Field]:
    """Return the *fields* that pass through a proxy, in their order.

    Fields called as *left_out* has it, in lower case, do not.
    """
    named = [name for name in listed(fields, b"connection") if name not in END_TO_END]
    stay = HOP_BY_HOP.union(named, left_out)
    return [field for field in fields if field[0].lower() not in stay]


def trailing(fields: Iterable[Field]) -> list[Field]:
    """Return the trailer *fields* that pass through a proxy, in their order."""
    return [field for field in fields if field[0].lower() not in _NOT_IN_TRAILERS]

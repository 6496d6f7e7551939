"""The Via field: which proxies a message came by (RFC 9110 §7.6.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.proxy.hop_by_hop import listed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.proxy.http_head import Field


def field(minor: int, pseudonym: str) -> Field:
    """Return the field by which a proxy adds itself to a message of HTTP/1.*minor*."""
    return b"Via", f"1.{minor} {pseudonym}".encode("ascii")


def has(fields: Iterable[Field], pseudonym: str) -> bool:
    """Return whether a proxy that is called *pseudonym* added itself: the message came back.

    A comma in a comment ends a member here, so that a comment may be taken for a proxy.
    """
    own = pseudonym.lower().encode("ascii")
    return any(member.split()[1:2] == [own] for member in listed(fields, b"via"))

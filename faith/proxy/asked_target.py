"""The server that a client asks for, checked: a host in text and a port."""

from __future__ import annotations

import codecs
import re

from faith.errors import FaithError
from faith.proxy.proxy_events import Target
from faith.translation import address

LONGEST = 253
"""Octets of a name in text (RFC 1035 §2.3.4: 255 in a message)."""
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_PUNYCODE = codecs.lookup("punycode")  # a confined process may not find it when a name needs it
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


class BadTarget(FaithError):
    """A client asks for what is neither a name nor an address, or for no port."""


def target(host: bytes, port: int) -> Target:
    """Return the target that *host*, a name or an address in text, and *port* are.

    An IPv6 address may stand in brackets.  Raises BadTarget for other octets than those of host
    names (letters, digits, hyphens, and underscores, which are in use), for a name that ends in a
    number, which some read as an address, for an A-label (RFC 5890 §2.3.2.1) that is none, and for
    a port that is not 1 to 65535.
    """
    if not 0 < port < 65536:
        raise BadTarget(f"port {port} is not between 1 and 65535")
    return endpoint(host, port)


def endpoint(host: bytes, port: int) -> Target:
    """Return the target that *host* and *port*, which may be 0, are.  Raises BadTarget."""
    if not host.isascii():
        raise BadTarget("the name has octets outside ASCII: send it as A-labels (xn--...)")
    text = host.decode("ascii").lower()
    bare = text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text
    if bare is not text and ":" not in bare:
        raise BadTarget("what stands in brackets is not an IPv6 address")
    if ":" in bare or _NUMBER.fullmatch(bare.rstrip(".").rpartition(".")[2]):
        return Target(_address(bare), port, True)
    return Target(_name(text.removesuffix(".")), port, False)


def packed_endpoint(octets: bytes, port: int) -> Target:
    """Return the target that an address of 4 or 16 *octets* and *port*, which may be 0, are."""
    return Target(address.text(octets), port, True)


def _address(text: str) -> str:
    try:
        if "%" in text:
            raise ValueError
        return address.text(address.packed(text))
    except (OSError, ValueError):
        raise BadTarget("the host is neither a name nor an address") from None


def _name(text: str) -> str:
    if not text or len(text) > LONGEST:
        raise BadTarget(f"the name has {len(text)} octets, not 1 to {LONGEST}")
    for label in text.split("."):
        if not _LABEL.fullmatch(label) or (label.startswith("xn--") and not _is_a_label(label)):
            raise BadTarget("the name is not one of a host (RFC 1123 section 2.1)")
    return text


def _is_a_label(label: str) -> bool:
    encoded = label[4:].encode("ascii")
    try:
        decoded = _PUNYCODE.decode(encoded)[0]
        return (
            not decoded.isascii()
            and decoded.isprintable()
            and _PUNYCODE.encode(decoded)[0] == encoded
        )
    except UnicodeError:
        return False

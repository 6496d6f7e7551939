"""User and password of the Basic scheme (RFC 7617)."""

from __future__ import annotations

import binascii

LONGEST = 1024
"""Octets of a field's value that are looked at."""


def basic(value: bytes) -> tuple[str, bytes] | None:
    """Return the user and the password that *value*, of Proxy-Authorization, says; None if none.

    A user is in UTF-8, and has no control characters (RFC 7617 §2).
    """
    scheme, _, encoded = value.partition(b" ")
    if scheme.lower() != b"basic" or len(value) > LONGEST:
        return None
    try:
        user, colon, password = binascii.a2b_base64(encoded.strip(), strict_mode=True).partition(
            b":"
        )
        name = user.decode("utf-8")
    except ValueError:
        return None
    return (name, password) if colon and name.isprintable() else None

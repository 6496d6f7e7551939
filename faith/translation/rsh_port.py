"""The first octets of an rsh client: the port where it waits for the server's standard error."""

from __future__ import annotations

RESERVED = range(512, 1024)
"""Privileged ports that rcmd(3) listens on and rshd(8) connects from."""

LONGEST = 6
"""Octets of the longest announcement, its NUL included."""


def stderr_port(said: bytes) -> int | None:
    """Parse the announcement *said*: the port, 0 for none, or None while its NUL is missing.

    Raises ValueError for anything no rcmd(3) sends: characters other than digits, too many of them,
    or a port that is not reserved.  An rshd accepts any port, and would be made to connect to a
    port of the gateway's.
    """
    digits, nul, _ = said.partition(b"\0")
    if digits and not digits.isdigit():
        raise ValueError("not a number")
    if not nul:
        if len(said) >= LONGEST:
            raise ValueError("too long")
        return None
    port = int(digits or b"0")
    if port and port not in RESERVED:
        raise ValueError("not a reserved port")
    return port

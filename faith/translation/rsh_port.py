"""What an rsh client says first: the port at which it waits for the server's standard error."""

from __future__ import annotations

RESERVED = range(512, 1024)
"""The ports that rcmd(3) listens at and that rshd(8) comes from, as a sign of privilege."""

LONGEST = 6
"""Octets of the longest announcement, its NUL included."""


def stderr_port(said: bytes) -> int | None:
    """The port that *said* announces, 0 for none; None while the NUL behind it is missing.

    Raises ValueError for what no rcmd(3) says: other than digits, too many of them, or a port
    that is not reserved.  An rshd takes any port, and would be led to the gateway's own.
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

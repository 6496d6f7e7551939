"""The option by which routers tell hosts the prefix: PREF64 of router advertisements (RFC 8781)."""

from __future__ import annotations

from faith.errors import ConfigError
from faith.translation.prefix import RFC6052

TYPE_CHECKING = False
if TYPE_CHECKING:
    from faith.translation.prefix import Prefix

TYPE = 38
LONGEST = 65528
"""Seconds: 13 bits, in units of 8."""

_LENGTH_CODES = {96: 0, 64: 1, 56: 2, 48: 3, 40: 4, 32: 5}


def default_lifetime(interval: int) -> int:
    """The lifetime in seconds where advertisements come every *interval* seconds at most (§4.1)."""
    return rounded(min(3 * interval, LONGEST))


def rounded(lifetime: int) -> int:
    """*lifetime* in seconds as it can be told: the next multiple of 8 (§4.1).

    Zero says that the prefix is to be used no more.  Raises ConfigError.
    """
    if not 0 <= lifetime <= LONGEST:
        raise ConfigError(f"a lifetime of {lifetime} seconds is not between 0 and {LONGEST}")
    return -(-lifetime // 8) * 8


def value(prefix: Prefix, lifetime: int) -> bytes:
    """The option without its first two octets, type and length (§4).

    Raises ConfigError for a prefix that hosts would not read as we do, and a wrong lifetime.
    """
    check(prefix)
    scaled = rounded(lifetime) // 8
    head = scaled << 3 | _LENGTH_CODES[prefix.length]
    return head.to_bytes(2, "big") + prefix.packed[:12]


def check(prefix: Prefix) -> None:
    """Raise ConfigError unless hosts understand *prefix*: they know RFC 6052's layout alone."""
    if prefix.length not in _LENGTH_CODES or (prefix.length < 96 and prefix.layout != RFC6052):
        raise ConfigError(
            f"{prefix} has the layout {prefix.layout}; hosts would put the IPv4 address where"
            " rfc6052 has it, and only at 96 bits are the two the same"
        )

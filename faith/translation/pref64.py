"""The PREF64 option, by which router advertisements announce the prefix to hosts (RFC 8781)."""

from __future__ import annotations

from faith.errors import ConfigError
from faith.translation.prefix import RFC6052

TYPE_CHECKING = False
if TYPE_CHECKING:
    from faith.translation.prefix import Prefix

TYPE = 38
LONGEST = 65528
"""The longest lifetime in seconds: 13 bits, in units of 8 s."""

_LENGTH_CODES = {96: 0, 64: 1, 56: 2, 48: 3, 40: 4, 32: 5}


def default_lifetime(interval: int) -> int:
    """Return the lifetime in seconds for advertisements at most *interval* seconds apart (§4.1)."""
    return rounded(min(3 * interval, LONGEST))


def rounded(lifetime: int) -> int:
    """Return *lifetime*, in seconds, rounded up to a multiple of 8, which the option can carry
    (§4.1).

    Zero withdraws the prefix.  Raises ConfigError for a lifetime out of range.
    """
    if not 0 <= lifetime <= LONGEST:
        raise ConfigError(f"a lifetime of {lifetime} seconds is not between 0 and {LONGEST}")
    return -(-lifetime // 8) * 8


def value(prefix: Prefix, lifetime: int) -> bytes:
    """Return the option's value, without its type and length octets (§4).

    Raises ConfigError for a lifetime out of range, and for a prefix whose layout hosts would not
    apply.
    """
    check(prefix)
    scaled = rounded(lifetime) // 8
    head = scaled << 3 | _LENGTH_CODES[prefix.length]
    return head.to_bytes(2, "big") + prefix.packed[:12]


def check(prefix: Prefix) -> None:
    """Raise ConfigError unless hosts can use *prefix*: they know the layout of RFC 6052 alone."""
    if prefix.length not in _LENGTH_CODES or (prefix.length < 96 and prefix.layout != RFC6052):
        raise ConfigError(
            f"{prefix} has the layout {prefix.layout}; hosts would put the IPv4 address where"
            " rfc6052 has it, and only at 96 bits are the two the same"
        )

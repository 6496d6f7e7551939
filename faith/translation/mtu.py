"""The MTU of links of IPv6, in octets of a packet."""

from __future__ import annotations

from faith.errors import ConfigError

LEAST_MTU, MOST_MTU = 1280, 65535
"""The least MTU of RFC 8200 §5, and the greatest possible."""


def check_mtu(mtu: int) -> None:
    """Raise ConfigError unless a link of IPv6 can have this *mtu*."""
    if not LEAST_MTU <= mtu <= MOST_MTU:
        raise ConfigError(f"mtu: must be from {LEAST_MTU} to {MOST_MTU} octets")

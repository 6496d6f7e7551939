"""IPv6 fragments, put together by the kernel before they reach the input hook.

They would pass it one by one, unless something on the host needs whole packets.
"""

from __future__ import annotations

from faith.kernel.nft.expressions import TCP, daddr_is, l4proto, tproxy
from faith.kernel.nft.ruleset import Chain, Hook, Rule

_MANGLE = -150
_NOWHERE, _LOOPBACK = bytes(16), bytes(15) + b"\x01"

# A rule with tproxy makes the kernel reassemble fragments, without connection tracking.  No packet
# has the destination ::, so the rule does nothing else.
_WHOLE = Rule(
    "ip6 daddr :: meta l4proto tcp tproxy to [::1]:1",
    daddr_is(_NOWHERE) + l4proto(TCP) + tproxy(_LOOPBACK, 1),
)

WHOLE = Chain("whole", (_WHOLE,), Hook("filter", "prerouting", _MANGLE))
"""A chain for a table of IPv6, during whose life fragments are put together."""

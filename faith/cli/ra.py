"""``faith ra``: what a router advertisement daemon is to be told, in its own words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.translation import pref64

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from faith.translation.prefix import Prefix


def radvd(prefix: Prefix, lifetime: int) -> str:
    """For a block ``interface`` of radvd.conf(5)."""
    return f"nat64prefix {prefix} {{\n    AdvValidLifetime {lifetime};\n}};\n"


def networkd(prefix: Prefix, lifetime: int) -> str:
    """A section of systemd.network(5)."""
    return f"[IPv6PREF64Prefix]\nPrefix={prefix}\nLifetimeSec={lifetime}\n"


def bird(prefix: Prefix, lifetime: int) -> str:
    """For a block ``protocol radv`` of bird.conf."""
    octets = pref64.value(prefix, lifetime).hex(":")
    return f"custom option type {pref64.TYPE} value hex:{octets};\n"


DAEMONS: dict[str, tuple[str, Callable[[Prefix, int], str]]] = {
    "radvd": ("radvd 2.20, in the interface's block of /etc/radvd.conf", radvd),
    "networkd": ("systemd 255, in the interface's .network file", networkd),
    "bird": ("BIRD 2.14, in the block protocol radv of bird.conf", bird),
}
"""What each snippet needs and where it goes, and what makes it."""


def snippets(prefixes: Sequence[Prefix], lifetime: int, daemons: Sequence[str]) -> str:
    """What to tell each of *daemons* so that hosts use *prefixes* for *lifetime* seconds.

    Raises ConfigError for a lifetime or a prefix that cannot be told.
    """
    for prefix in prefixes:
        pref64.check(prefix)
    lifetime = pref64.rounded(lifetime)
    parts = []
    for daemon in daemons:
        where, snippet = DAEMONS[daemon]
        parts.append(f"# {where}\n" + "".join(snippet(prefix, lifetime) for prefix in prefixes))
    return "\n".join(parts)

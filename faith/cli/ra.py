"""The command ``faith ra``: configuration of router advertisement daemons for PREF64 (RFC 8781)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.translation import pref64

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from faith.translation.prefix import Prefix


def radvd(prefix: Prefix, lifetime: int) -> str:
    """Return the lines for an ``interface`` block of radvd.conf(5); *lifetime* in seconds."""
    return f"nat64prefix {prefix} {{\n    AdvValidLifetime {lifetime};\n}};\n"


def networkd(prefix: Prefix, lifetime: int) -> str:
    """Return a section of systemd.network(5); *lifetime* in seconds."""
    return f"[IPv6PREF64Prefix]\nPrefix={prefix}\nLifetimeSec={lifetime}\n"


def bird(prefix: Prefix, lifetime: int) -> str:
    """Return the line for a ``protocol radv`` block of bird.conf; *lifetime* in seconds."""
    octets = pref64.value(prefix, lifetime).hex(":")
    return f"custom option type {pref64.TYPE} value hex:{octets};\n"


DAEMONS: dict[str, tuple[str, Callable[[Prefix, int], str]]] = {
    "radvd": ("radvd 2.20, in the interface's block of /etc/radvd.conf", radvd),
    "networkd": ("systemd 255, in the interface's .network file", networkd),
    "bird": ("BIRD 2.14, in the block protocol radv of bird.conf", bird),
}
"""For each daemon: the version it needs and the file to edit, and the function of the snippet."""


def snippets(prefixes: Sequence[Prefix], lifetime: int, daemons: Sequence[str]) -> str:
    """Return the snippets for *daemons* that make hosts use *prefixes* for *lifetime* seconds.

    Raises ConfigError for a lifetime or a prefix that the option cannot carry (RFC 8781).
    """
    for prefix in prefixes:
        pref64.check(prefix)
    lifetime = pref64.rounded(lifetime)
    parts = []
    for daemon in daemons:
        where, snippet = DAEMONS[daemon]
        parts.append(f"# {where}\n" + "".join(snippet(prefix, lifetime) for prefix in prefixes))
    return "\n".join(parts)

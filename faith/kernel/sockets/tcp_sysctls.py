"""Settings of the kernel's TCP that a relay is better off with than with their defaults."""

from __future__ import annotations

from pathlib import Path

_DIRECTORY = Path("/proc/sys/net/ipv4")
_ADVICE = {
    "tcp_mtu_probing": (
        ("1", "2"),
        "1",
        "a path that loses Packet Too Big messages stalls what is sent through it",
    ),
    "tcp_tw_reuse": (
        ("1",),
        "1",
        "ports of closed connections to one server stay taken for a minute",
    ),
}
"""Of each setting the good values, the one to set, and the consequence of any other value."""


def advice() -> list[str]:
    """Return a line for each setting of this network namespace that had better be another.

    Nothing is returned for a setting that cannot be read.
    """
    found = []
    for name, (good, best, consequence) in _ADVICE.items():
        try:
            value = (_DIRECTORY / name).read_text().strip()
        except OSError:
            continue
        if value not in good:
            found.append(
                f"net.ipv4.{name} is {value}: {consequence}; sysctl -w net.ipv4.{name}={best}"
            )
    return found

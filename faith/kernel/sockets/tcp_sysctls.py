"""Settings of the kernel's TCP that a relay is better off with than with their defaults."""

from __future__ import annotations

from pathlib import Path

from faith.errors import SetupError
from faith.kernel import text_file

_DIRECTORY = Path("/proc/sys/net/ipv4")
_ADVICE = {
    "tcp_mtu_probing": (
        ("1", "2"),
        "1",
        "lost Packet Too Big messages stall sessions",
    ),
    "tcp_tw_reuse": (
        ("1",),
        "1",
        "ports of closed sessions stay taken for 60 s",
    ),
}
"""Of each setting the good values, the one to set, and the consequence of any other value."""


def advice() -> list[str]:
    """Return, for each setting of this network namespace that had better be another, the command
    to set it and the reason.

    Nothing is returned for a setting that cannot be read.
    """
    found = []
    for name, (good, best, consequence) in _ADVICE.items():
        try:
            value = text_file.read_proc(_DIRECTORY / name).strip()
        except SetupError:
            continue
        if value not in good:
            found.append(f"sysctl -w net.ipv4.{name}={best}: at {value}, {consequence}")
    return found

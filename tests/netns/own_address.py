"""IPv6 addresses of the network namespace that a test runs in."""

from __future__ import annotations

import subprocess


def add_address(address: str, length: int = 128, device: str = "lo") -> None:
    """Give *device* an IPv6 *address* with a prefix *length*, and a route to it.

    The kernel adds its own a moment after the address, from a work queue.
    """
    for words in (
        f"route add local {address}/128 dev {device}",
        f"address add {address}/{length} dev {device} nodad",
    ):
        subprocess.run(["ip", *words.split()], check=True)

"""An ICMP message with its addresses, before it is given to a socket."""

from __future__ import annotations

from typing import NamedTuple


class Send(NamedTuple):
    """An ICMP *message* to be sent: ICMPv6 if *v6*, and then the kernel fills in its checksum.

    *source* is None for an address of the kernel's choice, *scope* the interface index of a
    link-local destination, *hops* 0 for the kernel's default.
    """

    v6: bool
    source: int | None
    to: int
    message: bytes
    hops: int = 0
    traffic_class: int = 0
    scope: int = 0

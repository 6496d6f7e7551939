"""A message on its way out, before any socket has it."""

from __future__ import annotations

from typing import NamedTuple


class Send(NamedTuple):
    """An ICMP *message* to be sent: ICMPv6 if *v6*, and the kernel then writes its checksum.

    *source* is None for an address of the kernel's choice, *scope* the interface that a link-local
    address is of, *hops* 0 for the kernel's choice.
    """

    v6: bool
    source: int | None
    to: int
    message: bytes
    hops: int = 0
    traffic_class: int = 0
    scope: int = 0

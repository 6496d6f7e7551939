"""Traces of packets through nftables, as ``nft monitor trace`` shows them.

The rule that marks packets for tracing is in a table that the kernel deletes with its socket, after
SIGKILL too.  Needs CAP_NET_ADMIN and Linux 5.12.
"""

from __future__ import annotations

import errno
import os
import select
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from faith.errors import SetupError
from faith.kernel.netlink.netlink import NETLINK_NETFILTER, Netlink, attributes
from faith.kernel.nft.expressions import between, trace
from faith.kernel.nft.owned_table import OwnedTable
from faith.kernel.nft.rule_dump import FAMILIES, data
from faith.kernel.nft.ruleset import IP, IP6, Chain, Hook, Rule
from faith.translation.address import text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

_TRACES = 1 << 8  # NFNLGRP_NFTRACE, which is 9
_TRACE = 10 << 8 | 17  # NFNL_SUBSYS_NFTABLES, NFT_MSG_TRACE
_NFGENMSG = 4
_TABLE, _CHAIN, _HANDLE, _TYPE, _VERDICT, _ID = 1, 2, 3, 4, 5, 6
_ARRIVES, _POLICY = 10, 16
_BY_POLICY = 1
_FIRST = -350
"""Before connection tracking, and before all that others usually have."""


class TraceEvent(NamedTuple):
    """A step of the packet *number* in a chain: *verdict* is its code, None where it goes on.

    *handle* is that of the rule, 0 for a policy; *arrives* is an interface, 0 if none is told.
    """

    number: int
    family: str
    table: str
    chain: str
    handle: int
    verdict: int | None
    arrives: int


class PacketTrace:
    """A trace of packets from *source* to *destination*, both packed, as they arrive."""

    def __init__(self, table: OwnedTable, netlink: Netlink) -> None:
        self._table = table
        self._netlink = netlink

    @classmethod
    def create(cls, source: bytes, destination: bytes) -> Self:
        """Begin.  Raises SetupError."""
        step = f"trace packets to {text(destination)}"
        rule = Rule("meta nftrace set 1", between(source, destination) + trace())
        chain = Chain("trace", (rule,), Hook("filter", "prerouting", _FIRST))
        try:
            netlink = Netlink.create(NETLINK_NETFILTER, _TRACES)
        except OSError as error:
            raise SetupError(step, error.strerror or str(error), "run it as root") from error
        try:
            family = IP if len(source) == 4 else IP6
            table = OwnedTable.named(f"faith-explain-{os.getpid()}", step, [chain], family=family)
        except BaseException:
            netlink.close()
            raise
        return cls(table, netlink)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._table.close()
        self._netlink.close()

    def events(self, seconds: float) -> Iterator[TraceEvent]:
        """Yield what happens within *seconds*."""
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self._netlink, select.POLLIN)
        while (left := deadline - time.monotonic()) > 0:
            if poll.poll(left * 1000):
                yield from self._pending()

    def _pending(self) -> Iterator[TraceEvent]:
        try:
            for kind, body in self._netlink.notifications():
                if kind == _TRACE:
                    yield event(body)
        except OSError as error:
            if error.errno != errno.ENOBUFS:  # else there were more than the queue holds
                raise


def event(body: bytes) -> TraceEvent:
    """Parse a message of the kernel's."""
    attrs = dict(attributes(body[_NFGENMSG:]))
    by_policy = _number(attrs.get(_TYPE, b"")) == _BY_POLICY
    code: int | None = None
    if by_policy:
        code = int.from_bytes(attrs.get(_POLICY, b""), "big", signed=True)
    elif _VERDICT in attrs:
        code = _code(attrs[_VERDICT])
    return TraceEvent(
        _number(attrs.get(_ID, b"")),
        FAMILIES.get(body[0], str(body[0])),
        _name(attrs.get(_TABLE, b"")),
        _name(attrs.get(_CHAIN, b"")),
        0 if by_policy else _number(attrs.get(_HANDLE, b"")),
        code,
        _number(attrs.get(_ARRIVES, b"")),
    )


def _code(nested: bytes) -> int | None:
    """Return the code of a verdict, whose attributes may be nested once more."""
    with suppress(KeyError):
        return int.from_bytes(dict(attributes(nested))[1], "big", signed=True)
    found = data(nested)
    return found.code if isinstance(found, tuple) else None


def _number(octets: bytes) -> int:
    return int.from_bytes(octets, "big")


def _name(octets: bytes) -> str:
    return octets.rstrip(bytes(1)).decode(errors="replace")

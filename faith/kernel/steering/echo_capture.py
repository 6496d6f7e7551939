"""Capture of echo requests for mapped hosts, before the kernel answers or the guard refuses them.

A daemon's own tables, one for each family, log and drop them one priority before the guard.  The
kernel removes the tables when the daemon ends, however it ends; then the guard refuses again.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from faith.kernel.netlink.packet_log import PacketLog
from faith.kernel.nft.expressions import (
    ECHO_REQUEST,
    ECHO_REQUEST4,
    daddr4_in,
    daddr_in,
    drop,
    icmp_type,
    icmpv6_type,
    log,
)
from faith.kernel.nft.owned_table import CAPABILITIES, OwnedTable
from faith.kernel.nft.reassembly import WHOLE
from faith.kernel.nft.ruleset import ADDRESS4, IP, Chain, Hook, Rule, Set
from faith.translation.ranges import ranges

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Self

    from faith.kernel.nft.ruleset import Range
    from faith.translation.prefix import Prefix

    Network = tuple[int, int]
    """An IPv4 address and a prefix length."""

__all__ = ["CAPABILITIES", "HOOK", "EchoCapture"]

_STEP = "take over pings"
_SUFFIX = "-ping"
HOOK = Hook("filter", "input", -1)
"""Where echo requests are taken: chains after it do not see them."""
_AT_ONCE = 1
_NETWORKS = Set("networks", ADDRESS4)


class _Table6(OwnedTable):
    def fill(self, prefixes: Iterable[Prefix]) -> None:
        self.refill(Set.of_prefixes("prefixes", prefixes))


def _table6(group: int) -> _Table6:
    rule = Rule(
        f"ip6 daddr @prefixes icmpv6 type echo-request {_hand_over_text(group)}",
        daddr_in("prefixes") + icmpv6_type(ECHO_REQUEST) + log(group, _AT_ONCE) + drop(),
    )
    chains = (
        Chain("ping", (rule,), HOOK),
        WHOLE,
    )
    sets = [Set.of_prefixes("prefixes", ())]
    return _Table6.create(_STEP, chains, sets=sets, suffix=_SUFFIX)


class _Table4(OwnedTable):
    def fill(self, wanted: Iterable[Range]) -> None:
        with self._explained():
            there, here = set(self._nft.ranges(self._table.name, _NETWORKS)), set(wanted)
            if there != here:
                added, removed = sorted(here - there), sorted(there - here)
                self._nft.change(self._table.name, _NETWORKS, added, removed)


def _table4(group: int) -> _Table4:
    rule = Rule(
        f"ip daddr @networks icmp type echo-request {_hand_over_text(group)}",
        daddr4_in("networks") + icmp_type(ECHO_REQUEST4) + log(group, _AT_ONCE) + drop(),
    )
    chain = Chain("ping", (rule,), HOOK)
    return _Table4.create(_STEP, [chain], sets=[_NETWORKS], suffix=_SUFFIX, family=IP)


class EchoCapture:
    """The capture of echo requests by the tables *v6* and *v4*, which *packets* delivers.

    The reader of *packets* has to answer them.
    """

    def __init__(self, packets: PacketLog, v6: _Table6, v4: _Table4) -> None:
        self.packets = packets
        self._v6 = v6
        self._v4 = v4

    @classmethod
    def create(cls) -> Self:
        """Make the tables, which capture nothing yet.  Raises SetupError."""
        with ExitStack() as undo:
            packets = PacketLog.create()
            undo.callback(packets.close)
            v6 = _table6(packets.group)
            undo.callback(v6.close)
            v4 = _table4(packets.group)
            undo.pop_all()
        return cls(packets, v6, v4)

    @classmethod
    def adopt(cls, state: Any) -> Self:
        """Adopt the capture whose `state` the predecessor process left."""
        packets, v6, v4 = state
        return cls(PacketLog.adopt(packets), _Table6.adopt(v6), _Table4.adopt(v4))

    def set_prefixes(self, prefixes: Iterable[Prefix]) -> None:
        """Capture the requests to exactly these prefixes.  Raises SetupError."""
        self._v6.fill(prefixes)

    def set_networks(self, networks: Iterable[Network]) -> None:
        """Capture the requests to exactly these IPv4 networks.  Raises SetupError."""
        self._v4.fill(ranges(networks, 32))

    def state(self) -> Any:
        """Return the state that an upgrade passes to the successor process."""
        return [self.packets.state(), self._v6.state(), self._v4.state()]

    def close(self) -> None:
        """Stop; the kernel deletes the tables with the last copy of the descriptors."""
        self._v6.close()
        self._v4.close()
        self.packets.close()


def _hand_over_text(group: int) -> str:
    return f"log group {group} queue-threshold {_AT_ONCE} drop"

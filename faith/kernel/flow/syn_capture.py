"""Capture of the packets that the brain of the kernel path has to see, by nftables.

A daemon's own table of IPv6 does it behind the guard and behind the host's own input rules, so a
connection that these refuse stays refused.  The kernel removes the table when the daemon ends,
however it ends.  There is one such table in a network namespace, and so one daemon with a kernel
path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.kernel.flow.layout import TAG_FALLEN, TAG_SYN
from faith.kernel.nft.expressions import drop, log, priority_is
from faith.kernel.nft.owned_table import OwnedTable
from faith.kernel.nft.reassembly import WHOLE
from faith.kernel.nft.ruleset import Chain, Hook, Rule

if TYPE_CHECKING:
    from typing import Self

    from faith.kernel.netlink.packet_log import PacketLog

TABLE = "faith-flows"
"""The name of the table."""

_STEP = "capture first packets"
_TAKEN = "another faithd has a kernel path in this network namespace"
_HOOK = Hook("filter", "input", 10)  # the host's own rules, and the guard, are at 0
_AT_ONCE = 1


def hand_over_text(group: int) -> str:
    """Return ``log`` to *group* and ``drop``, in nft's language."""
    return f"log group {group} queue-threshold {_AT_ONCE} drop"


def hand_over(group: int) -> bytes:
    """Return the expressions of `hand_over_text`."""
    return log(group, _AT_ONCE) + drop()


def _rule(tag: int, group: int) -> Rule:
    text = f"meta priority {tag >> 16:x}:{tag & 0xFFFF:x} {hand_over_text(group)}"
    return Rule(text, priority_is(tag) + hand_over(group))


class SynCapture(OwnedTable):
    """The table, which takes the packets that the tc program has tagged."""

    @classmethod
    def between(cls, syns: PacketLog, fallen: PacketLog) -> Self:
        """Make the table: *syns* delivers first packets, *fallen* what the program left.

        That are the packets of flows in fragments, or with extension headers.  Raises SetupError,
        also when another daemon has such a table.
        """
        rules = _rule(TAG_SYN, syns.group), _rule(TAG_FALLEN, fallen.group)
        chains = Chain("first", rules, _HOOK), WHOLE
        return cls.named(TABLE, _STEP, chains, taken=_TAKEN)

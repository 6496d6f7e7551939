"""Chains of other programs that translate the destinations of what arrives or is sent here.

Docker, kube-proxy and the like have them.  They are found in nftables, where the modern iptables
has its tables too, and in the tables of the old one (iptables-legacy), of which the kernel says no
more than that they are there.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from faith.errors import SetupError
from faith.kernel import text_file
from faith.kernel.netlink.netlink import NETLINK_NETFILTER, Netlink

if TYPE_CHECKING:
    from faith.kernel.nft.nftables import Nftables

_OURS = "faith"  # the guards' table, and the beginning of the names of the daemons'
_HOOKS = ("prerouting", "output")
_DSTNAT = -100
_NOTIFICATIONS = 1 << 6  # NFNLGRP_NFTABLES
_NEW_CHAIN = 10 << 8 | 3  # of struct nlmsghdr: NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWCHAIN
_LEGACY = {"ip": "ip_tables_names", "ip6": "ip6_tables_names"}


class Translator(NamedTuple):
    """A chain, with the family, table and name that nft(8) lists it by, and its priority."""

    family: str
    table: str
    chain: str
    priority: int

    def __str__(self) -> str:
        return f"chain {self.family} {self.table} {self.chain}, priority {self.priority}"


def found(nft: Nftables, family: str) -> tuple[Translator, ...]:
    """Return the chains that translate destinations of *family*, in the order they act in.

    Raises OSError.
    """
    chains = [
        Translator(chain.family, chain.table, chain.name, chain.priority)
        for chain in nft.base_chains()
        if chain.kind == "nat" and chain.hook in _HOOKS and chain.family in (family, "inet")
        if not is_ours(chain.table)
    ]
    chains += [
        Translator(f"{family}tables-legacy", "nat", hook, _DSTNAT) for hook in legacy(family)
    ]
    return tuple(sorted(chains, key=lambda one: one.priority))


def is_ours(table: str) -> bool:
    """Return whether *table* is of a guard, or of a daemon."""
    return table == _OURS or table.startswith(f"{_OURS}-")


def legacy(family: str) -> tuple[str, ...]:
    """Return the chains of the legacy table ``nat``, if this network namespace has it."""
    names = Path("/proc/thread-self/net", _LEGACY[family])
    try:
        return ("PREROUTING", "OUTPUT") if "nat" in text_file.read_proc(names).split() else ()
    except SetupError:  # no such tables in this kernel
        return ()


class Watch:
    """Notifications of chains that anybody makes in nftables.

    Wait until ``fileno()`` is readable, then call ``drain()``.  Raises OSError where the kernel has
    no nftables, or refuses.
    """

    def __init__(self) -> None:
        self._netlink = Netlink.create(NETLINK_NETFILTER, _NOTIFICATIONS)

    def fileno(self) -> int:
        return self._netlink.fileno()

    def close(self) -> None:
        self._netlink.close()

    def drain(self) -> bool:
        """Read all notifications since the last call; return whether there is a new chain.

        A notification that the kernel had to drop counts as one.
        """
        changed = False
        while True:
            try:
                for kind, _ in self._netlink.notifications():
                    changed = changed or kind == _NEW_CHAIN
                return changed
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                changed = True

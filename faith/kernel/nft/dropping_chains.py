"""Chains of nftables that certainly drop every TCP connection over IPv6 that comes to the host.

A chain is left out as soon as a rule of it might accept anything: what a firewall decides case by
case takes more than its rules to tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from faith.kernel.nft.expressions import ACCEPTS, DROPS, effect
from faith.kernel.nft.nftables import Nftables
from faith.kernel.nft.translators import is_ours

if TYPE_CHECKING:
    from faith.kernel.nft.nftables import BaseChain

_HOOKS = ("prerouting", "input")


class DroppingChain(NamedTuple):
    """A chain that drops all, with the family, table and name that nft(8) lists it by."""

    family: str
    table: str
    chain: str
    hook: str

    def __str__(self) -> str:
        return f"chain {self.family} {self.table} {self.chain} (hook {self.hook})"


def found() -> list[DroppingChain]:
    """Return the chains.  Raises OSError, PermissionError without CAP_NET_ADMIN."""
    with Nftables() as nft:
        return [
            DroppingChain(one.family, one.table, one.name, one.hook)
            for one in nft.base_chains()
            if one.family in ("inet", "ip6") and one.hook in _HOOKS and not is_ours(one.table)
            if _drops_all(nft, one)
        ]


def _drops_all(nft: Nftables, chain: BaseChain) -> bool:
    """Return whether no packet gets through: each rule passes it on, until one drops all."""
    for rule in nft.rules_of(chain):
        what, unconditional = effect(rule)
        if what == ACCEPTS:
            return False
        if what == DROPS and unconditional:
            return nft.is_in_force(chain)
    return chain.drops and nft.is_in_force(chain)

"""The guard of the IPv4 addresses and ports that flows are sent from.

The tc program takes the packets of flows before the kernel's own TCP sees them.  What it does not
translate, as fragments and packets with IP options, is put together by the kernel and must not go
on to its TCP, which has no socket for it and would answer with a reset that is valid in the flow.
A table of IPv4 hands it to the brain and drops it.

The table needs no process and stays when a daemon is killed, because its flows do.  Packets that
the brain sends are not tracked: connection tracking would never see an answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from faith.kernel.flow.syn_capture import hand_over, hand_over_text
from faith.kernel.netlink.netlink import setup_error
from faith.kernel.nft.expressions import daddr4_in, dport_in, notrack, saddr4_in, sport_in
from faith.kernel.nft.nftables import Nftables
from faith.kernel.nft.ruleset import ADDRESS4, IP, Chain, Hook, Rule, Set, Table
from faith.translation.ranges import ranges

if TYPE_CHECKING:
    from faith.translation.ports import Ports

TABLE = "faith_flows"
"""The name of the table."""

_STEP = "guard the flows' addresses"
_BEFORE_THE_HOST = Hook("filter", "input", -10)
_RAW = Hook("filter", "output", -300)


@dataclass(frozen=True)
class Guarded:
    """IPv4 *networks*, ``(address, length)``, whose TCP *ports* belong to flows."""

    networks: tuple[tuple[int, int], ...]
    ports: Ports

    def sets(self, name: str) -> tuple[Set, Set]:
        """Return the sets of the addresses and of the ports."""
        addresses = Set(name, ADDRESS4, tuple(ranges(self.networks, 32)))
        return addresses, Set.of_ports(f"{name}_ports", self.ports)


def table(own: Guarded, shared: Guarded, group: int) -> Table:
    """Return the table that logs to *group* what reaches addresses of flows.

    The addresses *own* serve flows alone, the *shared* ones the gateway's sockets as well.
    """
    arriving, leaving = [], []
    for name in ("own", "shared"):
        ports = f"{name}_ports"
        arriving.append(
            Rule(
                f"ip daddr @{name} tcp dport @{ports} {hand_over_text(group)}",
                daddr4_in(name) + dport_in(ports) + hand_over(group),
            )
        )
        leaving.append(
            Rule(
                f"ip saddr @{name} tcp sport @{ports} notrack",
                saddr4_in(name) + sport_in(ports) + notrack(),
            )
        )
    return Table(
        TABLE,
        (*own.sets("own"), *shared.sets("shared")),
        (
            Chain("fallen", tuple(arriving), _BEFORE_THE_HOST),
            Chain("untracked", tuple(leaving), _RAW),
        ),
        family=IP,
    )


def install(own: Guarded, shared: Guarded, group: int) -> None:
    """Make the `table`, replacing one that is there in one step.  Raises SetupError."""
    try:
        with Nftables(family=IP) as nft:
            nft.replace(table(own, shared, group))
    except OSError as error:
        raise setup_error(_STEP, error, "the kernel must have nf_tables") from error


def is_intact(own: Guarded, shared: Guarded, group: int) -> bool:
    """Return whether it is as `install` leaves it.  Raises SetupError."""
    wanted = table(own, shared, group)
    try:
        with Nftables(family=IP) as nft:
            return nft.has_rules_of(wanted) and all(
                nft.ranges(TABLE, one) == one.ranges for one in wanted.sets
            )
    except OSError as error:
        raise setup_error(_STEP, error) from error


def generation() -> int:
    """Return a number that changes with every change of nftables.  Raises SetupError."""
    try:
        with Nftables(family=IP) as nft:
            return nft.generation()
    except OSError as error:
        raise setup_error(_STEP, error) from error


def remove() -> bool:
    """Remove the table; return False when there was none.  Raises SetupError."""
    try:
        with Nftables(family=IP) as nft:
            return nft.delete(TABLE)
    except OSError as error:
        raise setup_error(_STEP, error) from error

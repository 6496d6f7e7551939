"""Steering by nftables' tproxy, to one IPV6_TRANSPARENT listener for each worker.

It needs no BPF and serves any number of ports.  The listeners have an ephemeral port of ``[::1]``,
which no packet from outside can be sent to: what reaches it was steered, or comes from this host.
The AnyIP route makes the prefixes local already, so no packet mark, rule or routing table is
needed.
"""

from __future__ import annotations

from contextlib import ExitStack
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

from faith.kernel.nft.expressions import accept
from faith.kernel.nft.expressions import tproxy as to
from faith.kernel.nft.owned_table import CAPABILITIES
from faith.kernel.nft.ruleset import Chain, Hook, Rule
from faith.kernel.steering.base import Steering, listen
from faith.kernel.steering.owned import (
    MANGLE,
    PINHOLES,
    STEERED,
    STEERED_EXPRESSIONS,
    adopt_steering,
    steered,
    steering_table,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.translation.ports import Ports
    from faith.translation.prefix import Prefix

__all__ = ["CAPABILITIES", "adopt", "create"]

_ADDRESS = "::1"


def create(ports: Ports, prefixes: Iterable[Prefix], workers: int) -> Steering:
    """Steer *ports* of *prefixes* to a listener for each worker.

    Raises SetupError.
    """
    with ExitStack() as undo:
        group = listen(undo, _ADDRESS, 0, workers)
        rule = _rule(group[0].getsockname()[1])
        chain = Chain("steer", (PINHOLES, rule), Hook("filter", "prerouting", MANGLE))
        table = steering_table("tproxy", ports, prefixes, [chain])
        return steered("tproxy", undo, [group], table)


def adopt(listeners: list[list[int]], held: list[Any]) -> Steering:
    """Adopt what `create` made in the predecessor process, from its `Steering.state`."""
    return adopt_steering("tproxy", listeners, held)


def _rule(port: int) -> Rule:
    return Rule(
        f"{STEERED} tproxy to [{_ADDRESS}]:{port} accept",
        STEERED_EXPRESSIONS + to(IPv6Address(_ADDRESS).packed, port) + accept(),
    )

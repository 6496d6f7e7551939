"""Steering by nftables' redirect, the last resort: connection tracking carries every connection.

Connections arrive on an ephemeral port of ``[::]`` with one of the host's own addresses as their
destination; the original one comes from `kernel.sockets.tcp_sockets.original_destination`.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from faith.kernel.nft.expressions import redirect as to
from faith.kernel.nft.guard import PRIORITY
from faith.kernel.nft.owned_table import CAPABILITIES
from faith.kernel.nft.ruleset import Chain, Hook, Rule
from faith.kernel.steering.base import Steering, listen
from faith.kernel.steering.owned import (
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

_FIRST = PRIORITY - 1  # before the guard, which leaves nothing to translate to those after it


def create(ports: Ports, prefixes: Iterable[Prefix], workers: int) -> Steering:
    """Steer *ports* of *prefixes* to a listener for each worker.

    The host's own connections to them are steered too.  Raises SetupError.
    """
    with ExitStack() as undo:
        group = listen(undo, "::", 0, workers, transparent=False)
        rule = _rule(group[0].getsockname()[1])
        chains = [
            Chain("arriving", (PINHOLES, rule), Hook("nat", "prerouting", _FIRST)),
            Chain("own", (rule,), Hook("nat", "output", _FIRST)),
        ]
        table = steering_table("redirect", ports, prefixes, chains)
        return steered("redirect", undo, [group], table, redirected=True)


def adopt(listeners: list[list[int]], held: list[Any]) -> Steering:
    """Adopt what `create` made in the predecessor process, from its `Steering.state`."""
    return adopt_steering("redirect", listeners, held, redirected=True)


def _rule(port: int) -> Rule:
    return Rule(
        f"{STEERED} redirect to :{port}",
        STEERED_EXPRESSIONS + to(port),
    )

"""Steering by a BPF program at the kernel's socket lookup, to listeners on ``[::1]``."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from faith.kernel.steering.base import Steering, adopt_groups, listen
from faith.kernel.steering.lookup import CAPABILITIES, Lookup

if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterable, Sequence

    from faith.translation.ports import Ports
    from faith.translation.prefix import Prefix

__all__ = ["CAPABILITIES", "adopt", "create"]


def create(ports: Ports, prefixes: Iterable[Prefix], workers: int) -> Steering:
    """Steer *ports* of *prefixes* to a listener on ``[::1]``, or a group of them.

    The kernel chooses the port of the listeners and spreads connections among the workers. Raises
    PermissionNeeded, and SetupError when the kernel (before Linux 5.9) cannot do it.
    """
    with ExitStack() as undo:
        group = listen(undo, "::1", 0, workers)
        lookup = Lookup.create(group[0], ports, _networks(prefixes))
        return _steering(undo, [group], lookup)


def adopt(listeners: list[list[int]], held: list[Any]) -> Steering:
    """Adopt what `create` made in the predecessor process, from its `Steering.state`."""
    with ExitStack() as undo:
        groups = adopt_groups(undo, listeners)
        return _steering(undo, groups, Lookup.adopt(held, groups[0][0]))


def _steering(
    undo: ExitStack, groups: Sequence[Sequence[_socket.socket]], lookup: Lookup
) -> Steering:
    undo.callback(lookup.close)
    return Steering(
        "sk_lookup",
        groups,
        undo.pop_all(),
        held=[lookup.networks, lookup.link],
        set_prefixes=lambda prefixes: lookup.replace(_networks(prefixes)),
        set_ports=lookup.set_ports,
        in_place=lookup.is_attached,
    )


def _networks(prefixes: Iterable[Prefix]) -> list[tuple[int, int]]:
    return [(prefix.address, prefix.length) for prefix in prefixes]

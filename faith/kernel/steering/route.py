"""Steering by the AnyIP route alone: one IPV6_TRANSPARENT listener on ``[::]`` for each port.

The AnyIP route makes the prefixes local, so their connections find a wildcard listener without
further help.  It is the cheapest method and takes the port from everyone else on the host.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from faith.errors import SetupError
from faith.kernel.sockets import tcp_sockets
from faith.kernel.steering.base import Steering, adopt_groups, listen

if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterable

    from faith.translation.ports import Ports
    from faith.translation.prefix import Prefix

CAPABILITIES = ("CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE")
"""The capabilities that `create` needs: for IPV6_TRANSPARENT, and for ports below 1024."""

MOST_PORTS = 64
"""Every port is a socket in every worker; beyond this many the other methods cost less."""


def create(ports: Ports, prefixes: Iterable[Prefix], workers: int) -> Steering:
    """Listen on *ports* of every address, whatever the prefixes are: the routes steer.

    Raises SetupError when a port is taken, or when there are more than `MOST_PORTS`.
    """
    check_number(ports)
    with ExitStack() as undo:
        groups = [listen(undo, "::", port, workers) for port in ports]
        return Steering("route", groups, undo.pop_all())


def given(listeners: Iterable[_socket.socket]) -> Steering:
    """Return the steering of `create` for listeners made elsewhere, one for each port."""
    with ExitStack() as undo:
        groups = []
        for listener in listeners:
            undo.callback(listener.close)
            tcp_sockets.fit(listener)
            groups.append([listener])
        return Steering("route", groups, undo.pop_all())


def adopt(listeners: list[list[int]], held: list[Any]) -> Steering:
    """Adopt what `create` made in the predecessor process, from its `Steering.state`."""
    with ExitStack() as undo:
        groups = adopt_groups(undo, listeners)
        return Steering("route", groups, undo.pop_all())


def check_number(ports: Ports) -> None:
    """Raise SetupError when there are too many *ports* for a listener each."""
    if len(ports) > MOST_PORTS:
        raise SetupError(
            f"listen on [::] for ports {ports}",
            f"{len(ports)} ports would take as many sockets in every worker;"
            f" {MOST_PORTS} is the most",
        )

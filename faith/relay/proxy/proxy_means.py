"""The means of a proxy: the parts of the relay that it uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import _socket
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

    from faith.relay.proxy.association_table import AssociationTable
    from faith.relay.proxy.name_search import Names
    from faith.relay.proxy.user_check import UserCheck
    from faith.relay.tcp.accounting import Accounting
    from faith.relay.tcp.plane import Plane
    from faith.relay.tcp.record import Record
    from faith.relay.tcp.relay_counters import Counters
    from faith.relay.tcp.relay_settings import Settings
    from faith.relay.tcp.session import Session
    from faith.relay.tcp.source_ports import SourcePorts
    from faith.translation.destination import Policy

    Use = Callable[[_socket.socket | None], None]


@dataclass(frozen=True)
class ProxyMeans:
    """The means of one worker's proxies.

    *policy* and *settings* return those in force.  *why* returns the reason for an error that kept
    a server from being dialled.  *report* gets records, *begun* every session whose server has been
    connected, and *ended* every one that has ended, to be recorded.  *replaced* gets a session that
    has ended and the one in which its client goes on; *left* one that has ended of which there are
    records enough.  Without *names* no name is found.

    *take_transparent* calls a function with a transparent socket of a family, or None, and
    *ask_for_pinhole* has a listener, on an address that is steered, reached by a host, and then
    calls a function; both are None where no supervisor helps.
    """

    loop: AbstractEventLoop
    plane: Plane
    policy: Callable[[], Policy]
    settings: Callable[[], Settings]
    source_ports: SourcePorts
    accounting: Accounting
    counters: Counters
    users: UserCheck
    associations: AssociationTable
    names: Names | None
    why: Callable[[OSError], str]
    report: Callable[[Record], object]
    begun: Callable[[Session], object]
    ended: Callable[[Session], object]
    replaced: Callable[[Session, Session], object]
    left: Callable[[Session], object]
    take_transparent: Callable[[int, Use], object] | None = None
    ask_for_pinhole: Callable[[_socket.socket, str, Callable[[], None]], object] | None = None

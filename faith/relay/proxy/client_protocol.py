"""The protocol of a proxy's client: none yet, or the machine that its first octet has chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.proxy.http_proxy import HttpProxy
from faith.proxy.protocol_choice import UnknownProtocol, protocol
from faith.proxy.proxy_events import HangUp, Refused
from faith.proxy.socks4 import Socks4
from faith.proxy.socks5 import Socks5
from faith.relay.proxy import http_date
from faith.translation.reasons import BAD_REQUEST, CLOSED, GREETING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from faith.proxy.protocol_choice import Machine
    from faith.proxy.proxy_events import Event
    from faith.proxy.proxy_rules import ProxyRules

_MACHINES: dict[str, type[Machine]] = {one.__name__: one for one in (Socks5, Socks4, HttpProxy)}


class ClientProtocol:
    """The *machine* of one client, None until it has said something, by *rules*."""

    def __init__(self, rules: ProxyRules) -> None:
        self.rules = rules
        self.machine: Machine | None = None

    @property
    def wants_client(self) -> bool:
        """Return whether to read the client."""
        return self.machine is None or self.machine.wants_client

    @property
    def awaits_request(self) -> bool:
        """Return whether it is the client's turn to ask for something."""
        return self.machine is None or self.machine.awaits_request

    @property
    def is_idle(self) -> bool:
        """Return whether a client that has asked before asks for nothing now."""
        return self.machine is not None and self.machine.is_idle

    def set_clock(self) -> None:
        """Have the machine know the time of what comes next."""
        if isinstance(self.machine, HttpProxy):
            self.machine.date = http_date.now()

    def from_client(self, data: bytes) -> Iterable[Event]:
        """Return the events for *data* from the client."""
        if self.machine is None:
            try:
                self.machine = protocol(data)(self.rules)
            except UnknownProtocol as unknown:
                why = f"{BAD_REQUEST}: {unknown}"
                return [Refused(None, why), HangUp(why, cut=True)]
            self.set_clock()
        return self.machine.from_client(data)

    def client_ended(self, why: str = CLOSED) -> Iterable[Event]:
        """Return the events for the client's end, *why* if not by a FIN."""
        return [HangUp(why)] if self.machine is None else self.machine.client_ended(why)

    def overdue(self) -> Iterable[Event]:
        """Return the events for a client that has not asked in time."""
        if self.machine is None:
            return [Refused(None, GREETING), HangUp(GREETING)]
        return self.machine.overdue()

    def apply(self, rules: ProxyRules) -> None:
        """Have other *rules* from the next request on; what is asked for already goes on."""
        self.rules = rules
        if isinstance(self.machine, HttpProxy):
            self.machine.rules = rules

    def state(self) -> list[Any] | None:
        """Return the state for `restore`, fit for JSON."""
        machine = self.machine
        return None if machine is None else [type(machine).__name__, machine.state()]

    def restore(self, state: list[Any] | None) -> None:
        """Go on, just made by the same rules, where the one stopped whose `state` it is."""
        if state:
            kind, its = state
            self.machine = _MACHINES[kind](self.rules)
            self.machine.restore(its)

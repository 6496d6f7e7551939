"""The hand-over of UDP flows to the server of another process."""

from __future__ import annotations

import _socket
from typing import TYPE_CHECKING, Any, Protocol

from faith.datagram.udp import paths, udp_v4_to_v6, udp_v6_to_v4
from faith.datagram.udp.flows import Flow
from faith.translation.prefix import Prefix

if TYPE_CHECKING:
    from faith.datagram.udp.flows import Flows
    from faith.datagram.udp.udp_counters import Counters

_LOT = 200
"""The most flows of a lot, even without descriptors."""


class Home(Protocol):
    """The UDP server that gives or takes the flows."""

    counters: Counters
    outward: udp_v6_to_v4.Outward
    inward: udp_v4_to_v6.Inward
    outward_flows: Flows
    inward_flows: Flows

    def serve(self) -> None:
        """Start to read."""


class Handover:
    """Gives the flows of *home*, which has stopped reading, or takes them for it.

    The taker starts to read after the last lot.  Times need no conversion: the clock is the
    kernel's monotonic one.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._end_left = True

    @property
    def left(self) -> bool:
        """True if there is more to give."""
        home = self._home
        return self._end_left or bool(len(home.outward_flows) + len(home.inward_flows))

    def give(self, room: int) -> tuple[list[Any], list[int]]:
        """Return a lot of flows, with their sockets; an empty last lot marks the end."""
        home = self._home
        states: list[Any] = []
        descriptors: list[int] = []
        for flow in home.outward_flows.take(min(room, _LOT)):
            states.append(["outward", *_outward_state(flow)])
            descriptors.append(home.outward.release(flow))
        for flow in home.inward_flows.take(_LOT - len(states)):
            states.append(["inward", *_inward_state(flow)])
            home.inward.end(flow)
        if not states and self._end_left:
            self._end_left = False
            home.counters.flows(0)
            states.append(["end"])
        return states, descriptors

    def take(self, states: list[Any], descriptors: list[int]) -> None:
        """Adopt a lot of flows, except where the client has a flow here already."""
        home = self._home
        rest = iter(descriptors)
        for kind, *state in states:
            if kind == "end":
                home.serve()
            elif kind == "outward":
                flow = _outward_flow(_socket.socket(fileno=next(rest)), *state)
                if home.outward_flows.find(flow.key):
                    flow.held.sock.close()
                else:
                    home.outward_flows.add(flow)
                    home.outward.settle(flow)
            else:
                flow = _inward_flow(*state)
                if not home.inward_flows.find(flow.key):
                    home.inward_flows.add(flow)
                    home.inward.settle(flow)


def _common(flow: Flow) -> list[Any]:
    return [flow.key, flow.owner, flow.due, list(flow.peers.items())]


def _flow(common: list[Any], held: Any) -> Flow:
    key, owner, due, peers = common
    flow = Flow(tuple(key), owner, held)
    flow.due = due
    flow.peers = dict(peers)
    return flow


def _outward_state(flow: Flow) -> list[Any]:
    held = flow.held
    return [_common(flow), held.source, held.client, str(held.prefix), held.prefix.layout]


def _outward_flow(
    sock: _socket.socket,
    common: list[Any],
    source: int | None,
    client: list[Any],
    prefix: str,
    layout: str,
) -> Flow:
    sock.setblocking(False)
    host, port, scope = client
    return _flow(
        common, paths.Held(sock, source, (host, port, scope), Prefix.parse(prefix, layout))
    )


def _inward_state(flow: Flow) -> list[Any]:
    held = flow.held
    return [_common(flow), held.client, held.mapped, held.source, held.host]


def _inward_flow(
    common: list[Any], client: list[int], mapped: list[int], source: list[int], host: list[int]
) -> Flow:
    ends = ((address, port) for address, port in (client, mapped, source, host))
    return _flow(common, udp_v4_to_v6.Held(*ends))

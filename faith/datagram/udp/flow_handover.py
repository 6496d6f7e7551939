"""The hand-over of UDP flows to the server of another process."""

from __future__ import annotations

import _socket
import time
from typing import TYPE_CHECKING, Any, Protocol

from faith.datagram.udp import paths, udp_v4_to_v6, udp_v6_to_v4
from faith.datagram.udp.flows import Flow
from faith.translation.directions import V4_TO_V6, V6_TO_V4
from faith.translation.prefix import Prefix
from faith.translation.reasons import STOPPED

if TYPE_CHECKING:
    from faith.datagram.udp.flow_reports import FlowReports
    from faith.datagram.udp.flows import Flows
    from faith.datagram.udp.udp_counters import UdpCounters

_LOT = 200
"""The most flows of a lot, even without descriptors."""


class Home(Protocol):
    """The UDP server that gives or takes the flows."""

    counters: UdpCounters
    v6_to_v4: udp_v6_to_v4.UdpV6ToV4
    v4_to_v6: udp_v4_to_v6.UdpV4ToV6
    flows_from_v6: Flows
    flows_from_v4: Flows
    reports: FlowReports

    def serve(self) -> None:
        """Start to read."""


class FlowHandover:
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
        return self._end_left or bool(len(home.flows_from_v6) + len(home.flows_from_v4))

    def give(self, room: int) -> tuple[list[Any], list[int]]:
        """Return a lot of flows, with their sockets; an empty last lot marks the end."""
        home = self._home
        states: list[Any] = []
        descriptors: list[int] = []
        for flow in home.flows_from_v6.take(min(room, _LOT)):
            states.append([V6_TO_V4.name, *_v6_state(flow)])
            descriptors.append(home.v6_to_v4.release(flow))
        for flow in home.flows_from_v4.take(_LOT - len(states)):
            states.append([V4_TO_V6.name, *_v4_state(flow)])
            home.v4_to_v6.end(flow)
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
            elif kind == V6_TO_V4.name:
                flow = _v6_flow(_socket.socket(fileno=next(rest)), *state)
                if home.flows_from_v6.find(flow.key):
                    home.reports.ended(flow, time.monotonic(), STOPPED)
                    flow.ends.sock.close()
                else:
                    home.flows_from_v6.add(flow)
                    home.v6_to_v4.settle(flow)
            else:
                flow = _v4_flow(*state)
                if home.flows_from_v4.find(flow.key):
                    home.reports.ended(flow, time.monotonic(), STOPPED)
                else:
                    home.flows_from_v4.add(flow)
                    home.v4_to_v6.settle(flow)


def _common(flow: Flow) -> list[Any]:
    told = [flow.opened, list(flow.first), flow.sent, flow.received]
    return [flow.key, flow.address, flow.due, list(flow.peers.items()), told]


def _flow(common: list[Any], ends: Any) -> Flow:
    key, address, due, peers, told = common
    flow = Flow(tuple(key), address, ends)
    flow.due = due
    flow.peers = dict(peers)
    flow.opened, first, flow.sent, flow.received = told
    flow.first = tuple(first)
    return flow


def _v6_state(flow: Flow) -> list[Any]:
    ends = flow.ends
    return [_common(flow), ends.source, ends.client, str(ends.prefix), ends.prefix.layout]


def _v6_flow(
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
        common, paths.V6ToV4Ends(sock, source, (host, port, scope), Prefix.parse(prefix, layout))
    )


def _v4_state(flow: Flow) -> list[Any]:
    ends = flow.ends
    return [_common(flow), ends.client, ends.mapped, ends.source, ends.host]


def _v4_flow(
    common: list[Any], client: list[int], mapped: list[int], source: list[int], host: list[int]
) -> Flow:
    endpoints = ((address, port) for address, port in (client, mapped, source, host))
    return _flow(common, udp_v4_to_v6.V4ToV6Ends(*endpoints))

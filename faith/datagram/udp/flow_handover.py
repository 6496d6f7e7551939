"""The hand-over of UDP flows to the server of another process."""

from __future__ import annotations

import _socket
import time
from typing import TYPE_CHECKING, Any

from faith.datagram.udp import paths, udp_v4_to_v6
from faith.translation.directions import V4_TO_V6, V6_TO_V4
from faith.translation.prefix import Prefix
from faith.translation.reasons import STOPPED
from faith.translation.udp.flows import Flow

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.datagram.udp.flow_reports import FlowReports
    from faith.datagram.udp.udp_counters import UdpCounters
    from faith.datagram.udp.udp_v4_to_v6 import UdpV4ToV6
    from faith.datagram.udp.udp_v6_to_v4 import UdpV6ToV4

_LOT = 200
"""The most flows of a lot, even without descriptors."""


class FlowHandover:
    """Gives the flows of a server, which has stopped reading, or takes them for it.

    The taker starts to read after the last lot, by *serve*.  Times need no conversion: the clock is
    the kernel's monotonic one.
    """

    def __init__(
        self,
        v6_to_v4: UdpV6ToV4,
        v4_to_v6: UdpV4ToV6,
        counters: UdpCounters,
        reports: FlowReports,
        serve: Callable[[], None],
    ) -> None:
        self._v6_to_v4 = v6_to_v4
        self._v4_to_v6 = v4_to_v6
        self._counters = counters
        self._reports = reports
        self._serve = serve
        self._end_left = True

    @property
    def left(self) -> bool:
        """True if there is more to give."""
        return self._end_left or bool(len(self._v6_to_v4.flows) + len(self._v4_to_v6.flows))

    def give(self, room: int) -> tuple[list[Any], list[int]]:
        """Return a lot of flows, with their sockets; an empty last lot marks the end."""
        states: list[Any] = []
        descriptors: list[int] = []
        for flow in self._v6_to_v4.flows.take(min(room, _LOT)):
            states.append([V6_TO_V4.name, *_v6_state(flow)])
            descriptors.append(self._v6_to_v4.release(flow))
        for flow in self._v4_to_v6.flows.take(_LOT - len(states)):
            states.append([V4_TO_V6.name, *_v4_state(flow)])
            self._v4_to_v6.end(flow)
        if not states and self._end_left:
            self._end_left = False
            self._counters.flows(0)
            states.append(["end"])
        return states, descriptors

    def adopt(self, states: list[Any], descriptors: list[int]) -> None:
        """Adopt a lot of flows, except where the client has a flow here already."""
        rest = iter(descriptors)
        for kind, *state in states:
            if kind == "end":
                self._serve()
            elif kind == V6_TO_V4.name:
                flow = _v6_flow(_socket.socket(fileno=next(rest)), *state)
                if self._v6_to_v4.flows.find(flow.key):
                    self._reports.ended(flow, time.monotonic(), STOPPED)
                    flow.ends.sock.close()
                else:
                    self._v6_to_v4.flows.add(flow)
                    self._v6_to_v4.settle(flow)
            else:
                flow = _v4_flow(*state)
                if self._v4_to_v6.flows.find(flow.key):
                    self._reports.ended(flow, time.monotonic(), STOPPED)
                else:
                    self._v4_to_v6.flows.add(flow)
                    self._v4_to_v6.settle(flow)


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

"""Transfers over real distances: 40 ms there and back, and one packet in a hundred lost."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from bench.contenders import HAProxy, Kernel, Relay, Routed
from bench.delay_line import DelayLine, Distance
from bench.measures.base import Row
from bench.placement import apart
from bench.programs import IPERF3, TUN
from faith.lab import Network
from faith.lab.topology import CLIENT, GATEWAY_V4, GATEWAY_V6, SERVER, ThreeHosts

if TYPE_CHECKING:
    from contextlib import ExitStack

    from bench.bed import Bed
    from bench.contenders.base import Contender
    from bench.measures.base import Figures
    from bench.scale import Scale

_NONE, _HALF, _WHOLE = Distance(0, 0), Distance(0.010, 0.005), Distance(0.020, 0.01)


def far(undo: ExitStack, clients: Distance, servers: Distance) -> ThreeHosts:
    """The three hosts, with the client's and the server's cable so long."""
    network = undo.enter_context(Network())
    client, gateway, server = (network.host(name) for name in ("client", "gateway", "server"))
    server.sysctl("net.ipv6.conf.all.disable_ipv6", 1)
    for near, distant, near_address, distant_address, distance in (
        (client, gateway, f"{CLIENT}/64", f"{GATEWAY_V6}/64", clients),
        (gateway, server, f"{GATEWAY_V4}/24", f"{SERVER}/24", servers),
    ):
        undo.enter_context(DelayLine(near, distant, [near_address], [distant_address], distance))
    client.links.add_route("default", GATEWAY_V6)
    return ThreeHosts(network, client, gateway, server)


class Far:
    """Throughput of one stream, with the gateway in the middle of the way or at its end.

    The routed path is the direct connection.
    """

    needs = (IPERF3, TUN)
    placement = staticmethod(apart)

    def __init__(self, *, middle: bool) -> None:
        self.name = "far-middle" if middle else "far-end"
        self.build = (
            partial(far, clients=_HALF, servers=_HALF)
            if middle
            else partial(far, clients=_WHOLE, servers=_NONE)
        )
        where = "in the middle" if middle else "at the server's end"
        self.row = Row(f"throughput at 40 ms and 1 % loss, gateway {where}", "Mbit/s", 2)

    def rows(self, scale: Scale) -> list[Row]:
        """One row."""
        return [self.row]

    def suits(self, contender: Contender) -> bool:
        """A few: the path decides, not how fast a relay is."""
        return isinstance(contender, Relay | Kernel | Routed) or contender.name == HAProxy().name

    def run(self, bed: Bed, contender: Contender, scale: Scale) -> Figures:
        """From the server to the client, the way of most bytes."""
        bed.serve_bulk()
        with contender.start(bed) as running:
            sent = bed.transfer(running.target, scale.far, reverse=True)
        return {self.row: sent.bits_per_second / 1e6}

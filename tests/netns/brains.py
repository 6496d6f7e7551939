"""A gateway with the whole kernel path but the daemon: program, maps, rules of nftables, brain."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import ExitStack
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, TypeVar

import uvloop

from faith.flow.brain import Brain
from faith.flow.flow_counters import LAYOUT, FlowCounters
from faith.flow.flow_settings import FlowSettings
from faith.kernel.flow.flow_links import FlowLinks
from faith.kernel.flow.flow_maps import FlowMaps
from faith.kernel.sockets.flow_sockets import FlowSockets
from faith.lab.topology import PREFIX
from faith.translation.access import Access
from faith.translation.destination import Policy
from faith.translation.networks import Networks
from faith.translation.ports import Ports
from faith.translation.prefix import Prefix, Prefixes
from tests.netns.flows import interfaces

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from faith.flow.flow_view import FlowView
    from faith.kernel.shared.families import Family
    from faith.lab import ThreeHosts

T = TypeVar("T")

SOURCE = "192.0.2.9"
PORTS = Ports([(2000, 2999)])

_RULES = """
table ip6 faith {{
  chain input {{
    type filter hook input priority 10
    ip6 daddr {prefix} meta priority fa17:1 log group {syns} queue-threshold 1 drop
    ip6 daddr {prefix} tcp flags & syn == 0 log group {fallen} queue-threshold 1 drop
  }}
}}
table ip faith_flows {{
  chain input {{
    type filter hook input priority -10
    ip daddr {source} tcp dport 2000-2999 log group {fallen} queue-threshold 1 drop
  }}
}}
"""


class Recorder:
    """Reports of flows, in the order in which they came; `wait` waits for an end."""

    def __init__(self) -> None:
        self.begun_: list[int] = []
        self.ended_: list[tuple[int, str, int, int]] = []
        self.refused_: list[str] = []
        self._changed = threading.Condition()

    def begun(self, view: FlowView) -> None:
        with self._changed:
            self.begun_.append(view.serial)
            self._changed.notify_all()

    def ended(self, view: FlowView, why: str) -> None:
        with self._changed:
            self.ended_.append((view.serial, why, view.sent, view.received))
            self._changed.notify_all()

    def refused(self, why: str, client: bytes, client_port: int, mapped: bytes, port: int) -> None:
        with self._changed:
            self.refused_.append(why)
            self._changed.notify_all()

    def wait(self, count: int = 1, seconds: float = 10) -> list[str]:
        """Wait for *count* ends, and return all."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.ended_) >= count, seconds), self.ended_
            return [why for _, why, _, _ in self.ended_]


class Running:
    """A brain on a loop of its own, in a thread."""

    def __init__(self, gateway: KernelPath, *, serves: bool = True, **changed: Any) -> None:
        self.reports = Recorder()
        self.cells = [0] * LAYOUT.size
        self.loop = uvloop.new_event_loop()
        settings = FlowSettings(
            **{
                "services": Ports([(1, 65535)]),
                "addresses": (int(IPv4Address(SOURCE)),),
                "address_ports": PORTS,
                **changed,
            }
        )
        with gateway.lab.gateway.inside():
            self.brain = Brain(
                self.loop,
                gateway.policy(),
                gateway.sockets,
                gateway.maps,
                settings,
                FlowCounters(self.cells),
                self.reports,
            )
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        if serves:
            self.call(self.brain.serve)

    def call(self, function: Callable[[], T]) -> T:
        """Call *function* in the thread of the loop."""

        async def run() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(timeout=20)

    def stop(self, *, how: str = "die") -> None:
        """End the loop: the brain "die"s, is "close"d for another, or comes to its "end"."""
        if not self._thread.is_alive():
            return
        if how != "die":
            self.call(getattr(self.brain, how))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(20)
        self.loop.close()
        for netlink in (self.brain._watch, self.brain._routing):
            netlink.close()

    def counted(self, family: Family) -> dict[str, int]:
        """The cells of *family* that are not 0."""
        found = zip(family.values, LAYOUT.of(family, self.cells), strict=True)
        return {value: count for value, count in found if count}

    def views(self) -> list[FlowView]:
        """The open flows."""
        return self.call(lambda: list(self.brain.sessions()))


class KernelPath:
    """The gateway of *lab* with everything that its brains share."""

    def __init__(self, lab: ThreeHosts, *, slots: int = 1024) -> None:
        self.lab, self._undo = lab, ExitStack()
        gateway = lab.gateway
        gateway.links.add_address("to-server", f"{SOURCE}/24")
        gateway.run(["ip", "-6", "route", "add", "local", PREFIX, "dev", "lo"])
        with gateway.inside():
            self.sockets = FlowSockets.create()
            self.maps = FlowMaps.create(slots)
            self.links = FlowLinks.create(self.maps)
            for each in (self.sockets, self.maps, self.links):
                self._undo.callback(each.close)
            self.links.follow(interfaces())
        groups = {"syns": self.sockets.syns.group, "fallen": self.sockets.fallen.group}
        rules = _RULES.format(prefix=PREFIX, source=SOURCE, **groups)
        gateway.run(["nft", "-f", "-"], stdin=rules)
        self.rules: tuple[str, ...] = ()
        self.running: list[Running] = []

    def policy(self, *rules: str, prefixes: tuple[str, ...] = (PREFIX,)) -> Policy:
        """The policy of brains, with *rules*."""
        own = Networks(32, [(int(IPv4Address("192.0.2.1")), 32)])
        access = Access.parse("\n".join(rules or self.rules))
        return Policy(Prefixes(map(Prefix.parse, prefixes)), own, access)

    def start(self, **changed: Any) -> Running:
        """Start a brain."""
        self.running.append(Running(self, **changed))
        return self.running[-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for each in self.running:
            each.stop()
        self._undo.close()

    def failure(self, server: str = "192.0.2.80", port: int = 80, timeout: float = 10) -> int:
        """The errno of the client's connect() to a port of *server*, 0 if it is connected."""
        with self.client(timeout=timeout) as sock:
            return sock.connect_ex((self.lab.mapped(server), port))

    def client(self, *, port: int = 0, timeout: float = 10) -> socket.socket:
        """A socket of the client's, not yet connected."""
        sock = self.lab.client.call(lambda: socket.socket(socket.AF_INET6))
        sock.settimeout(timeout)
        if port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("::", port))
        return sock

    def listener(self, port: int = 80) -> socket.socket:
        """A listener of the server's."""

        def make() -> socket.socket:
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("192.0.2.80", port))
            sock.listen(128)
            return sock

        sock = self.lab.server.call(make)
        sock.settimeout(10)
        self._undo.callback(sock.close)
        return sock

    def connect(
        self, listener: socket.socket, port: int = 0
    ) -> tuple[socket.socket, socket.socket]:
        """A connection to *listener*: the client's end and the server's."""
        sock = self.client(port=port)
        sock.connect((self.lab.mapped(), listener.getsockname()[1]))
        accepted, _ = listener.accept()
        accepted.settimeout(10)
        return sock, accepted

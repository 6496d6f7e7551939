"""A relay with a proxy on the loopback interface, clients of it, and servers it may reach."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import uvloop

from faith.kernel.sockets.tcp_sockets import listener
from faith.lab import wait_until
from faith.relay.proxy.name_search import Found
from faith.relay.proxy.proxy_settings import ProxySettings
from faith.relay.relay import Relay
from faith.relay.tcp.relay_counters import LAYOUT, OPEN, REFUSALS, SESSIONS, Counters
from faith.relay.tcp.relay_settings import Settings
from faith.translation.access import Access
from faith.translation.destination import Policy
from faith.translation.networks import Networks
from faith.translation.ports import Ports
from faith.translation.prefix import Prefixes
from tests.narrow import descriptors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from faith.relay.tcp.admission import Admission
    from faith.relay.tcp.record import Record
    from faith.relay.tcp.session import Session

RULES = """\
127.0.0.0/8  permit  127.0.0.0/24
127.0.0.0/8  permit  ::1
127.0.0.0/8  deny    127.0.1.0/24
"""
"""Rules by which 127.0.0.0/24 and ::1 are reached, and 127.0.1.0/24 is not."""


class Names:
    """Names with the addresses that the test says they have, or else none."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[str, ...]] = {}
        self.asked: list[str] = []

    def look_up(self, name: str, found: Callable[[Found], object], client: int) -> Names:
        self.asked.append(name)
        addresses = self.known.get(name, ())
        for family, mark in ((6, ":"), (4, ".")):
            found(Found(family, tuple(one for one in addresses if mark in one)))
        return self

    def cancel(self) -> None:
        pass


class Client:
    """A client of the proxy, or one that a server has accepted."""

    def __init__(self, bench: ProxyBench, sock: socket.socket) -> None:
        self.bench = bench
        self.sock = sock
        sock.setblocking(False)

    def say(self, data: bytes) -> None:
        """Send all of *data*, while the loop runs."""
        view = memoryview(data)

        def done() -> bool:
            nonlocal view
            with contextlib.suppress(BlockingIOError):
                while view:
                    view = view[self.sock.send(view) :]
            return not view

        self.bench.until(done)

    def hear(self, size: int) -> bytes:
        """Return *size* octets, or fewer when they end; a reset is an end as well."""
        got = bytearray()

        def done() -> bool:
            with contextlib.suppress(BlockingIOError):
                while len(got) < size:
                    try:
                        data = self.sock.recv(size - len(got))
                    except ConnectionResetError:
                        return True
                    if not data:
                        return True
                    got.extend(data)
            return len(got) == size

        self.bench.until(done)
        return bytes(got)

    def received(self) -> bytes | None:
        """Return what has arrived, nothing at the end; raises ConnectionResetError."""
        try:
            return self.sock.recv(65536)
        except BlockingIOError:
            return None

    def hear_all(self) -> bytes:
        """Return everything up to the end."""
        return self.hear(1 << 30)

    def hear_head(self) -> bytes:
        """Return the head of a message."""
        got = b""
        while not got.endswith(b"\r\n\r\n"):
            octet = self.hear(1)
            assert octet, got
            got += octet
        return got

    def end(self) -> None:
        """Send a FIN."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def close(self) -> None:
        self.sock.close()


class ProxyBench:
    """The relay of one worker, its proxy at 127.0.0.1, and what it has recorded."""

    def __init__(self, loop: asyncio.AbstractEventLoop, admission: Admission | None = None) -> None:
        self.loop = loop
        self.admission = admission
        self.names = Names()
        self.records: list[Record] = []
        self.begun: list[Session] = []
        self.idled = 0
        self.cells = [0] * LAYOUT.size
        self.connected = Networks(128, [(0, 0)])
        self.policy = self.policy_of(RULES)
        self.settings = Settings()
        self.relay = self.new_relay()
        self.relays = [self.relay]
        self.at = self.listen("127.0.0.1")
        self.proxy = ProxySettings("127.0.0.1", 1080)
        self.serve(self.proxy)
        self._sockets: list[socket.socket] = []

    def new_relay(self) -> Relay:
        return Relay(
            self.loop,
            self.policy,
            self.settings,
            self.records.append,
            None,
            counters=Counters(self.cells),
            admission=self.admission,
            begun=self.begun.append,
            idle=self._idled,
            names=self.names,
        )

    def _idled(self) -> None:
        self.idled += 1

    def policy_of(self, rules: str) -> Policy:
        return Policy(Prefixes(), Networks(32), Access.parse(rules), connected=self.connected)

    def listen(self, host: str) -> Any:
        return listener(host, 0, transparent=False)

    def serve(self, settings: ProxySettings | None = None, **changes: Any) -> None:
        """Serve by other settings; *connect_ports* are a set."""
        if "connect_ports" in changes:
            changes["connect_ports"] = Ports((port, port) for port in changes["connect_ports"])
        self.proxy = replace(settings or self.proxy, **changes)
        self.relay.serve_proxies([(self.at, self.proxy)])

    # -- peers -------------------------------------------------------------------------------

    def client(self, data: bytes = b"") -> Client:
        """Return a client, which has said *data*."""
        sock = socket.create_connection(self.at.getsockname()[:2])
        self._sockets.append(sock)
        client = Client(self, sock)
        if data:
            client.say(data)
        return client

    def server(self, host: str = "127.0.0.1") -> Server:
        return Server(self, host)

    def full_server(self) -> Server:
        """Return a server that is full: it answers once its first connection is accepted."""
        server = Server(self, "127.0.0.1", backlog=0)
        self.keep(socket.create_connection(("127.0.0.1", server.port)))
        return server

    def keep(self, sock: socket.socket) -> Client:
        self._sockets.append(sock)
        return Client(self, sock)

    # -- the loop ----------------------------------------------------------------------------

    def until(self, done: Callable[[], object], seconds: float = 10) -> None:
        """Run the loop until *done*, or fail."""

        async def wait() -> None:
            deadline = time.monotonic() + seconds
            while not done():
                assert time.monotonic() < deadline, "it did not happen"
                await asyncio.sleep(0.001)  # poll: what the loop does meanwhile

        self.loop.run_until_complete(wait())

    def turn(self) -> None:
        """Give what is ready its turn."""
        self.loop.run_until_complete(asyncio.sleep(0.01))  # time: for what is not to come

    # -- what is told ------------------------------------------------------------------------

    def record(self) -> Record:
        """Return the next record, once there is one."""
        self.until(lambda: self.records)
        return self.records.pop(0)

    @property
    def open(self) -> int:
        return self.cells[LAYOUT.start(OPEN)]

    def refused(self, why: str) -> int:
        return self.cells[LAYOUT.cells(REFUSALS)[why]]

    def ended(self, why: str) -> int:
        return self.cells[LAYOUT.cells(SESSIONS)[why]]

    def stages(self) -> list[str]:
        return [self.relay.stage(session) for session in self.relay.sessions()]

    def close_relay(self) -> None:
        self.relays.remove(self.relay)
        self.relay.close()

    def close(self) -> None:
        for relay in self.relays:
            relay.close()
        self.at.close()
        for sock in self._sockets:
            sock.close()


class Server:
    """A server at *host*, an address that the rules permit."""

    def __init__(self, bench: ProxyBench, host: str, backlog: int = 100) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.bench = bench
        self.host = host
        self.listener = socket.create_server((host, 0), family=family, backlog=backlog)
        self.listener.setblocking(False)
        self.port: int = self.listener.getsockname()[1]
        bench.keep(self.listener)

    def accept(self) -> Client:
        """Return the next connection, once it has come."""
        found: list[socket.socket] = []

        def done() -> bool:
            with contextlib.suppress(BlockingIOError):
                found.append(self.listener.accept()[0])
            return bool(found)

        self.bench.until(done)
        return self.bench.keep(found[0])

    def has_none(self) -> bool:
        """Return whether nobody has come."""
        self.bench.turn()
        try:
            self.listener.accept()[0].close()
        except BlockingIOError:
            return True
        return False


def new_bench(loops: str, admission: Admission | None = None) -> Iterator[ProxyBench]:
    """Yield a bench in a loop of "uvloop" or "asyncio", of which nothing stays behind."""
    loop = uvloop.new_event_loop() if loops == "uvloop" else asyncio.new_event_loop()
    loop.run_until_complete(asyncio.sleep(0))
    gc.collect()
    gc.freeze()  # what is here already is not looked at when this test ends
    before = descriptors()
    bench = ProxyBench(loop, admission)
    yield bench
    bench.close()
    assert bench.open == 0, "a session is counted that there is no more"
    gc.collect()

    def as_before() -> bool:
        # What an end on loopback sets off may take a moment, and asyncio some turns.
        loop.run_until_complete(asyncio.sleep(0))
        return descriptors() == before

    wait_until(as_before, 10, "no descriptor but those of the start")
    loop.close()

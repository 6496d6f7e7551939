"""The relay between an IPv6-only client and an IPv4-only server: what each side sees."""

from __future__ import annotations

import _socket
import asyncio
import contextlib
import errno
import hashlib
import os
import resource
import socket
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import uvloop

from faith.kernel.netlink import routes
from faith.kernel.sockets.tcp_sockets import listener
from faith.lab import wait_until
from faith.relay.relay import Relay
from faith.relay.tcp import dial, relay_counters
from faith.relay.tcp.relay_counters import Counters
from faith.relay.tcp.relay_settings import Settings
from faith.translation import reasons
from faith.translation.access import Access
from faith.translation.destination import Policy
from faith.translation.networks import Networks
from faith.translation.prefix import RFC6052, Prefix, Prefixes
from tests.netns.service import PORT, Server, connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.lab import Host, ThreeHosts
    from faith.relay.tcp.record import Record

    Start = Callable[..., "Running"]

pytestmark = pytest.mark.netns


class Running:
    """A relay in a thread of the gateway."""

    def __init__(self, gateway: Host, prefixes: list[Prefix], settings: Settings) -> None:
        self.records: list[Record] = []
        self.local: list[_socket.socket] = []
        self.prefixes = prefixes
        self._settings = settings
        self._gateway = gateway
        self._ready = threading.Event()
        self.idle = threading.Event()
        self.cells = [0] * relay_counters.LAYOUT.size
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._ready.wait(10)

    def _run(self) -> None:
        self.loop = uvloop.new_event_loop()
        with self._gateway.inside():
            for prefix in self.prefixes:
                routes.reserve(prefix)
            self.own = Networks(32, routes.own_ipv4())
            self.relay = Relay(
                self.loop,
                self.policy(),
                self._settings,
                self.records.append,
                self.local.append,
                counters=Counters(self.cells),
                idle=self.idle.set,
            )
            self.listeners = [listener("::", PORT, transparent=True)]
            self.relay.listen(self.listeners)
            self.loop.call_soon(self._ready.set)
            self.loop.run_forever()
            self.relay.close()
            for sock in self.listeners:
                sock.close()
        self.loop.close()

    def policy(self, rules: str = "") -> Policy:
        return Policy(Prefixes(self.prefixes), self.own, Access.parse(rules))

    def do(self, function: Callable[..., object], *args: object) -> None:
        """Call it in the loop, and wait until it has been."""
        done = threading.Event()

        def step() -> None:
            function(*args)
            done.set()

        self.loop.call_soon_threadsafe(step)
        assert done.wait(10)

    def rules(self, text: str) -> None:
        self.do(setattr, self.relay, "policy", self.policy(text))

    def record(self, number: int = 1) -> Record:
        """The *number*-th record, waited for; by default the first."""
        wait_until(lambda: len(self.records) >= number, 5, "a record")
        return self.records[number - 1]

    def stop(self) -> None:
        if not self._thread.is_alive():
            return
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture
def start(lab: ThreeHosts) -> Iterator[Callable[..., Running]]:
    """Start a relay on the gateway: ``start(*prefixes, **settings)``."""
    with contextlib.ExitStack() as stack:

        def begin(*prefixes: Prefix, **settings: object) -> Running:
            chosen = list(prefixes) or [Prefix.parse(lab.prefix)]
            running = Running(lab.gateway, chosen, Settings(**settings))  # type: ignore[arg-type]
            stack.callback(running.stop)
            return running

        yield begin


@pytest.fixture
def server(lab: ThreeHosts) -> Iterator[Server]:
    made = Server(lab.server)
    yield made
    made.listener.close()


def is_reset(sock: socket.socket) -> bool:
    try:
        sock.recv(1)
    except ConnectionResetError:
        return True
    return False


def gets_reset(lab: ThreeHosts, address: str = "") -> bool:
    """True when a new connection is accepted and reset, however quickly."""
    try:
        with connect(lab, address) as client:
            return is_reset(client)
    except ConnectionResetError:
        return True


def test_a_session_and_its_record(lab: ThreeHosts, server: Server, start: Start) -> None:
    running = start()
    with connect(lab) as client, server.accept() as peer:
        assert server.peer[0] == "192.0.2.1", "the server sees the gateway"
        client.sendall(b"ping")
        assert peer.recv(10) == b"ping"
        peer.sendall(b"pong!")
        assert client.recv(10) == b"pong!"
        name = client.getsockname()
        source = server.peer
        client.shutdown(socket.SHUT_WR)
        assert peer.recv(1) == b""
    record = running.record()
    assert record.end == "closed"
    assert record.client == name[:2]
    assert record.mapped == (lab.mapped(), PORT)
    assert record.source == source
    assert record.server == ("192.0.2.80", PORT)
    assert (record.sent, record.received) == (4, 5)


@pytest.mark.parametrize(
    ("prefix", "layout"),
    [("2001:db8:ffff::/96", "low32"), ("2001:db8:fffe::/64", "low32")]
    + [(f"2001:db8:ab00:cd00::/{n}", RFC6052) for n in (56, 64)]
    + [("2001:db8:ab00::/40", RFC6052), ("2001:dba::/32", RFC6052)],
)
def test_every_layout(
    lab: ThreeHosts, server: Server, start: Start, prefix: str, layout: str
) -> None:
    reserved = Prefix.parse(prefix, layout)
    running = start(Prefix.parse("2001:db8:eeee::/96"), reserved)
    mapped = socket.inet_ntop(socket.AF_INET6, reserved.map(0xC0000250).to_bytes(16, "big"))
    with connect(lab, mapped), server.accept() as peer:
        assert peer.getsockname()[0] == "192.0.2.80"
    assert running.record().mapped == (mapped, PORT)


def test_the_server_refuses(lab: ThreeHosts, start: Start) -> None:
    running = start()
    assert gets_reset(lab)
    assert running.record().end == "refused"


def test_the_server_is_unreachable(lab: ThreeHosts, start: Start) -> None:
    running = start()
    assert gets_reset(lab, lab.mapped("198.51.100.1"))
    assert running.record().end == "unreachable"


def test_the_server_does_not_answer(lab: ThreeHosts, start: Start) -> None:
    running = start(connect_timeout=0.3)
    assert gets_reset(lab, lab.mapped("192.0.2.99"))
    record = running.record()
    assert record.end == "timeout"
    assert record.seconds >= 0.29


def test_special_destinations_get_nothing(lab: ThreeHosts, start: Start) -> None:
    running = start()
    asked = (
        ("127.0.0.1", reasons.SPECIAL),
        ("192.0.2.1", reasons.OWN),
        ("192.0.2.255", reasons.OWN),
    )
    for number, (address, why) in enumerate(asked, 1):
        assert gets_reset(lab, lab.mapped(address))
        assert running.record(number).end == why
        assert not running.record(number).server


def test_rules_apply_to_the_next_connection(lab: ThreeHosts, server: Server, start: Start) -> None:
    running = start()
    with connect(lab) as client, server.accept() as peer:
        running.rules("2001:db8:6::/64 deny 192.0.2.80\n::/0 permit 0.0.0.0/0")
        assert gets_reset(lab)
        assert running.record().end == reasons.DENIED
        client.sendall(b"still here")
        assert peer.recv(20) == b"still here"


def test_the_fourth_word_chooses_the_source(lab: ThreeHosts, server: Server, start: Start) -> None:
    lab.gateway.links.add_address("to-server", "192.0.2.7/24")
    running = start()
    running.rules("::/0 permit 0.0.0.0/0 192.0.2.7")
    with connect(lab), server.accept():
        assert server.peer[0] == "192.0.2.7"


def test_a_source_that_is_not_ours_is_told(lab: ThreeHosts, start: Start) -> None:
    running = start()
    running.rules("::/0 permit 0.0.0.0/0 198.51.100.200")
    assert gets_reset(lab)
    assert running.record().end == "no source: cannot assign requested address"


def test_privileged_source_port(lab: ThreeHosts, server: Server, start: Start) -> None:
    start(reserved_port=True)
    with connect(lab), server.accept():
        assert 512 <= server.peer[1] < 1024


def test_the_gateways_own_address_is_for_the_local_server(lab: ThreeHosts, start: Start) -> None:
    running = start()
    with connect(lab, "2001:db8:6::1"):
        wait_until(lambda: bool(running.local), 5, "a local connection")
    assert running.local[0].getsockname()[:2] == ("2001:db8:6::1", PORT)
    running.local[0].close()
    assert not running.records


def test_reset_by_either_side_reaches_the_other(
    lab: ThreeHosts, server: Server, start: Start
) -> None:
    running = start()
    for number, who in enumerate(("client", "server"), 1):
        with connect(lab) as client, server.accept() as peer:
            one, other = (client, peer) if who == "client" else (peer, client)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            one.close()
            assert is_reset(other)
        assert running.record(number).end == f"{who} reset"


def test_an_idle_session_is_cut_and_a_busy_one_is_not(
    lab: ThreeHosts, server: Server, start: Start
) -> None:
    running = start(idle_timeout=1)
    with (
        connect(lab) as busy,
        server.accept() as busy_peer,
        connect(lab) as client,
        server.accept() as peer,
    ):
        for _ in range(15):
            busy.sendall(b".")
            assert busy_peer.recv(1) == b"."
            threading.Event().wait(0.1)
        assert is_reset(client)
        assert is_reset(peer)
        busy.sendall(b".")
        assert busy_peer.recv(1) == b"."
    assert running.records[0].end == "idle"


def test_both_legs_of_a_session_that_lives_have_keep_alive(
    lab: ThreeHosts, server: Server, start: Start
) -> None:
    running = start(idle_timeout=2)
    with connect(lab), server.accept():

        def kept_alive() -> bool:
            option = (socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            legs = [
                leg
                for session in running.relay._plane.sessions()
                for leg in (session.client, session.server)
            ]
            return bool(legs) and all(leg.sock.getsockopt(*option) for leg in legs)

        wait_until(kept_alive, 5, "keep-alive on both legs")


def test_a_half_closed_session_has_its_own_limit(
    lab: ThreeHosts, server: Server, start: Start
) -> None:
    running = start(half_closed_timeout=1)
    with connect(lab) as client, server.accept() as peer:
        client.shutdown(socket.SHUT_WR)
        assert peer.recv(1) == b""
        for _ in range(15):
            threading.Event().wait(0.1)
            peer.sendall(b"x")
            assert client.recv(1) == b"x", "the reverse direction goes on"
        assert is_reset(client)
        # Its FIN was read before, so recv() says "end" for good; writing tells of the RST.
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            wait_until(lambda: peer.send(b"x") == 0, 5, "the server's leg is reset")
    assert running.record().end == "idle half-closed"


def test_stopping_drains_then_resets(lab: ThreeHosts, server: Server, start: Start) -> None:
    running = start()
    idle = running.idle
    with connect(lab) as client, server.accept() as peer:
        running.do(running.relay.stop_listening)
        client.sendall(b"goes on")
        assert peer.recv(20) == b"goes on"
        assert not idle.is_set()
        client.close()
        peer.close()
        assert idle.wait(5)
        assert running.relay.open_sessions == 0


def test_closing_resets_what_is_left(lab: ThreeHosts, server: Server, start: Start) -> None:
    running = start()
    with connect(lab) as client, server.accept() as peer:
        running.stop()
        assert is_reset(client)
        assert is_reset(peer)
    assert running.record().end == "stopped"


def test_out_of_descriptors_sheds_new_work_and_recovers(
    lab: ThreeHosts, server: Server, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    running = start()
    with connect(lab) as client, server.accept() as peer:
        others = [lab.client.call(socket.socket, socket.AF_INET6) for _ in range(6)]
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = max(int(name) for name in os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used, hard))
        filler: list[int] = []
        with contextlib.suppress(OSError):
            while True:
                filler.append(os.open("/dev/null", os.O_RDONLY))
        try:
            assert [_is_shed(sock, lab.mapped()) for sock in others] == [True] * 6
            client.sendall(b"the old go on")
            assert peer.recv(20) == b"the old go on"
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in filler:
                os.close(fd)
            for sock in others:
                sock.close()
        with connect(lab) as late, server.accept() as late_peer:
            late.sendall(b"recovered")
            assert late_peer.recv(20) == b"recovered"
        wait_until(lambda: "6 connections" in caplog.text, 5, "the summary")
    assert caplog.text.count("out of descriptors or memory") == 1
    assert running.cells[relay_counters.LAYOUT.cells(relay_counters.REFUSALS)["shed"]] == 6


@pytest.mark.parametrize("error", [errno.ENOBUFS, errno.ENOMEM])
def test_out_of_memory_to_connect_sheds_as_well(
    lab: ThreeHosts,
    server: Server,
    start: Start,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    error: int,
) -> None:
    class Full(_socket.socket):
        def connect_ex(self, address: object) -> int:
            return error

    running = start()
    with monkeypatch.context() as full, lab.client.call(socket.socket, socket.AF_INET6) as sock:
        full.setattr(dial, "_socket", SimpleNamespace(**{**vars(_socket), "socket": Full}))
        assert _is_shed(sock, lab.mapped())
    assert running.record().end == "shed: out of resources"
    assert running.relay.open_sessions == 0
    assert "out of descriptors or memory" in caplog.text
    with connect(lab) as late, server.accept() as late_peer:
        late.sendall(b"recovered")
        assert late_peer.recv(20) == b"recovered"


def _is_shed(sock: socket.socket, address: str) -> bool:
    sock.settimeout(5)
    try:
        sock.connect((address, PORT))
    except ConnectionResetError:
        return True
    return is_reset(sock)


def test_many_sessions_at_once_by_hash(lab: ThreeHosts, server: Server, start: Start) -> None:
    running = start()
    count, size = 100, 300_000

    def echo(peer: socket.socket) -> None:
        with peer:
            while data := peer.recv(1 << 16):
                peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)

    def serve() -> None:
        for _ in range(count):
            threading.Thread(target=echo, args=(server.accept(),), daemon=True).start()

    same: list[bool] = []

    def ask() -> None:
        with connect(lab) as client:
            client.settimeout(20)
            data = os.urandom(size)
            threading.Thread(target=client.sendall, args=(data,), daemon=True).start()
            got = bytearray()
            while len(got) < size:
                got += client.recv(1 << 16)
            client.shutdown(socket.SHUT_WR)
            same.append(hashlib.sha256(got).digest() == hashlib.sha256(data).digest())
            assert client.recv(1) == b""

    accepting = threading.Thread(target=serve, daemon=True)
    accepting.start()
    asking = [threading.Thread(target=ask, daemon=True) for _ in range(count)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(30)
    assert same == [True] * count
    wait_until(lambda: len(running.records) == count, 5, "all records")
    assert {record.end for record in running.records} == {"closed"}
    assert running.relay.open_sessions == 0


def test_asyncio_loops_serve_as_well() -> None:
    """Nothing of the relay is uvloop's own: the plane's descriptor is any loop's reader."""
    loop = asyncio.new_event_loop()
    relay = Relay(loop, Policy(Prefixes(), Networks(32), Access()), Settings(), print, None)
    relay.close()
    loop.close()

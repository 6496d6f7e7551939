"""Servers that have taken most of the source ports, in a network namespace with few of them."""

from __future__ import annotations

import contextlib
import errno
import json
import socket
import subprocess
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from faith.kernel.sockets.tcp_sockets import ALL_PORTS, choose_port_in, has_port_ranges
from faith.lab import wait_until
from faith.lab.topology import CLIENT, GATEWAY_V6, SERVER
from faith.relay.tcp import dial, source_ports
from faith.relay.tcp.session_shares import SessionShares
from faith.relay.tcp.source_ports import (
    CROWDED,
    ESTIMATE,
    PAUSE,
    RUN,
    TRIES,
    NoShareError,
    SourcePorts,
)
from faith.translation.reasons import NO_PORT
from tests.netns.service import PORT, Echo, answers, connect

if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterator

    from faith.kernel.sockets.tcp_sockets import PortRange
    from faith.lab import ThreeHosts
    from tests.netns.conftest import Start

pytestmark = pytest.mark.netns

FIRST, LAST = 40000, 41023
CROWDED_SERVER, OTHER = ("127.0.0.2", 7000), ("127.0.0.3", 7000)
UNDER_WAY = (0, errno.EINPROGRESS)
EACH_ADDRESS = "--limit", "prefix_length=128"
"""Options of a faithd to which each address is a client."""
FEW = 64
"""Ports of the gateway."""
RESET = b"\1\0\0\0\0\0\0\0"
"""Value of SO_LINGER: close() sends a reset, and leaves no TIME_WAIT."""


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0
        self.step = 0.0
        """Seconds that pass between two looks."""

    def __call__(self) -> float:
        self.now += self.step
        return self.now


class Dialler:
    """SourcePorts under a clock, the ranges that they ask for, and the sockets made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        self.ranges: list[PortRange] = []
        self._ports = SourcePorts(self.clock)
        self._sockets: list[_socket.socket] = []

        def chosen(sock: _socket.socket, ports: PortRange) -> None:
            self.ranges.append(ports)
            choose_port_in(sock, ports)

        monkeypatch.setattr(dial, "choose_port_in", chosen)

    def __call__(self, to: tuple[str, int], source: str | None = None) -> int:
        """Connect *to* a server, and return the errno; the socket stays open."""
        self.ranges.clear()
        sock, error = self._ports.connect(*to, source)
        self._sockets.append(sock)
        return error

    def close(self, count: int | None = None) -> None:
        for _ in range(len(self._sockets) if count is None else count):
            sock = self._sockets.pop(0)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            sock.close()  # with a reset: no TIME_WAIT


@pytest.fixture
def dialler(private_network: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Dialler]:
    subprocess.run(["sysctl", "-qw", f"net.ipv4.ip_local_port_range={FIRST} {LAST}"], check=True)
    with socket.socket() as crowded, socket.socket() as other:
        for server, address in (crowded, CROWDED_SERVER), (other, OTHER):
            server.bind(address)
            server.listen(2048)
        made = Dialler(monkeypatch)
        yield made
        made.close()


def fill(dialler: Dialler) -> int:
    """Connect until no port is left; return the number of connections."""
    for count in range(LAST - FIRST + 2):
        if dialler(CROWDED_SERVER) not in UNDER_WAY:
            return count
    raise AssertionError("there is no end of ports")


def test_an_exhausted_server_is_searched_for_a_port_once_a_second_and_others_are_not(
    dialler: Dialler, caplog: pytest.LogCaptureFixture
) -> None:
    assert fill(dialler) == LAST - FIRST + 1
    assert "no source port is free to connect to 127.0.0.2:7000" in caplog.text
    assert dialler.ranges == []  # the connections before were ordinary ones
    for _ in range(3):
        assert dialler(CROWDED_SERVER) == errno.EADDRNOTAVAIL
        assert ALL_PORTS not in dialler.ranges
        assert len(dialler.ranges) == (TRIES if has_port_ranges() else 0)
    assert dialler(OTHER) in UNDER_WAY
    assert dialler.ranges == []
    dialler.clock.now += PAUSE
    assert dialler(CROWDED_SERVER) == errno.EADDRNOTAVAIL
    assert dialler.ranges.count(ALL_PORTS) == has_port_ranges()
    assert dialler(CROWDED_SERVER) == errno.EADDRNOTAVAIL
    assert ALL_PORTS not in dialler.ranges
    assert len(caplog.records) == 1


def test_a_port_that_becomes_free_is_found_within_a_second(dialler: Dialler) -> None:
    fill(dialler)
    dialler.close(1)
    dialler.clock.now += PAUSE
    assert dialler(CROWDED_SERVER) in UNDER_WAY


@pytest.mark.parametrize("source", [None, "127.0.0.9"])
def test_where_a_search_takes_long_small_ranges_are_searched(
    dialler: Dialler, source: str | None
) -> None:
    if not has_port_ranges():
        pytest.skip("IP_LOCAL_PORT_RANGE is there since Linux 6.3")
    dialler.clock.step = source_ports.SLOW * 2
    for _ in range(RUN):
        assert dialler(CROWDED_SERVER, source) in UNDER_WAY
        assert dialler.ranges == []
    dialler.clock.step = 0.0
    for _ in range(50):
        assert dialler(CROWDED_SERVER, source) in UNDER_WAY
        (one,) = dialler.ranges
        assert FIRST <= one[0] < one[1] <= LAST
    dialler.clock.now += CROWDED
    assert dialler(CROWDED_SERVER, source) in UNDER_WAY
    assert dialler.ranges == []


def test_some_that_waited_for_the_processor_tell_nothing(dialler: Dialler) -> None:
    for _ in range(3):
        dialler.clock.step = source_ports.SLOW * 2
        for _ in range(RUN - 1):
            dialler(CROWDED_SERVER)
        dialler.clock.step = 0.0
        dialler(CROWDED_SERVER)
        assert dialler.ranges == []


def test_the_servers_remembered_are_so_many_at_most(
    dialler: Dialler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_ports, "MOST", 2)
    dialler.clock.step = source_ports.SLOW * 2
    servers = [("127.0.0.1", 7000 + number) for number in range(3)]
    for server in servers:
        for _ in range(RUN):
            dialler(server)
    dialler.clock.step = 0.0
    dialler(servers[0])
    assert dialler.ranges == []
    dialler(servers[2])
    assert dialler.ranges != [] or not has_port_ranges()


def test_a_kernel_without_ranges_is_asked_once_a_second(
    dialler: Dialler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_ports, "_has_ranges", lambda: False)
    dialler.clock.step = source_ports.SLOW * 2
    for _ in range(RUN):  # searches that take long, and find a port, are no reason to refuse
        assert dialler(CROWDED_SERVER) in UNDER_WAY
    dialler.clock.step = 0.0
    fill(dialler)
    dialler.close(1)
    assert dialler(CROWDED_SERVER) == errno.EADDRNOTAVAIL  # it was not asked
    dialler.clock.now += PAUSE
    assert dialler(CROWDED_SERVER) in UNDER_WAY
    assert dialler.ranges == []


def test_a_client_that_has_its_share_of_a_crowded_servers_ports_gets_no_more(
    dialler: Dialler,
) -> None:
    greedy, modest, stranger = (f"2001:db8:{number}::1" for number in range(3))
    shares = SessionShares()
    for who, count in (greedy, 300), (modest, 20):
        for _ in range(count):
            shares.add(shares.client(who))
    route = SimpleNamespace(server=CROWDED_SERVER[0], source=None)
    some: list[Any] = [
        SimpleNamespace(share=shares.client(who), route=route, port=CROWDED_SERVER[1])
        for who, count in ((greedy, 30), (modest, 2))
        for _ in range(count)
    ]
    ports = SourcePorts(dialler.clock, shares, lambda: some, workers=2)

    def is_refused(
        client: str, to: tuple[str, int] | tuple[str, int, str] = CROWDED_SERVER
    ) -> bool:
        try:
            sock, _ = ports.connect(*to, client=client)
        except NoShareError:
            return True
        sock.close()
        return False

    assert not is_refused(greedy), "the server is not known to be crowded"
    dialler.clock.step = source_ports.SLOW * 2
    assert not any(is_refused(modest) for _ in range(RUN))
    dialler.clock.step = 0.0
    assert is_refused(greedy)
    assert not is_refused(greedy, OTHER)
    assert not is_refused(modest)
    assert not is_refused(stranger)
    own = "127.0.0.9"
    route.source = own
    dialler.clock.step = source_ports.SLOW * 2
    assert not any(is_refused(greedy, (*CROWDED_SERVER, own)) for _ in range(RUN))
    dialler.clock.step = 0.0
    some[30:] = []
    assert not is_refused(greedy, (*CROWDED_SERVER, own)), "the address may be its own"
    assert not is_refused(stranger, (*CROWDED_SERVER, own))
    assert is_refused(greedy, (*CROWDED_SERVER, own)), "it is not"
    route.source = None
    some.clear()
    assert is_refused(greedy)
    dialler.clock.now += PAUSE
    assert not is_refused(greedy)


@pytest.mark.usefixtures("reserved")
def test_a_client_is_told_at_once_and_other_servers_are_reached(
    lab: ThreeHosts, start: Start
) -> None:
    lab.gateway.sysctl("net.ipv4.ip_local_port_range", f"40000 {40000 + FEW - 1}")
    with contextlib.closing(Echo(lab.server)), contextlib.closing(Echo(lab.server, PORT + 1)):
        faithd = start(f"{PORT},{PORT + 1}")
        with contextlib.ExitStack() as held:
            # Most are a program's of the gateway: a client would not get all of them.
            connections = [held.enter_context(connect(lab)) for _ in range(FEW // 4)]
            assert all(map(answers, connections))
            assert len(take_the_rest(lab, held)) == FEW - FEW // 4
            with pytest.raises(ConnectionResetError), connect(lab) as one_more:
                one_more.recv(1)
            faithd.wait_said(f"no source port is free to connect to {SERVER}:{PORT}")
            faithd.wait_said(NO_PORT)
            with connect(lab, port=PORT + 1) as other:
                assert answers(other)


def come_from(lab: ThreeHosts, source: str) -> socket.socket:
    return lab.client.call(socket.create_connection, (lab.mapped(), PORT), 5, (source, 0))


def stay(lab: ThreeHosts, held: contextlib.ExitStack) -> socket.socket | None:
    """Have the client come, and stay if it is served."""
    with contextlib.suppress(ConnectionResetError):
        session = held.enter_context(come_from(lab, CLIENT))
        if answers(session):
            return session
    return None


def take_the_rest(lab: ThreeHosts, held: contextlib.ExitStack) -> list[socket.socket]:
    """Have a program of the gateway take the ports that are left."""
    found: list[socket.socket] = []
    while True:
        try:
            found.append(lab.gateway.call(socket.create_connection, (SERVER, PORT), 5))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            return found
        held.enter_context(found[-1])


def is_served(lab: ThreeHosts, source: str) -> bool:
    """Return whether a client is, which comes from *source* and leaves by a reset."""
    with contextlib.suppress(ConnectionResetError), come_from(lab, source) as session:
        served = answers(session)
        session.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        return served
    return False


@pytest.mark.usefixtures("reserved", "echo")
def test_who_has_most_ports_towards_a_server_gets_no_more_of_those_that_become_free(
    lab: ThreeHosts, start: Start
) -> None:
    lab.gateway.sysctl("net.ipv4.ip_local_port_range", f"40000 {40000 + FEW - 1}")
    faithd = start("--workers", "1", *EACH_ADDRESS, "--record-refusals", "0", str(PORT))
    other = CLIENT + "2"
    device = json.loads(lab.client.run(["ip", "-j", "route", "get", GATEWAY_V6]).stdout)[0]["dev"]
    lab.client.run(["ip", "-6", "address", "add", f"{other}/64", "dev", device, "nodad"])
    with contextlib.ExitStack() as held:
        greedy = [one for one in (stay(lab, held) for _ in range(FEW + 1)) if one]
        own = take_the_rest(lab, held)
        assert len(greedy) + len(own) == FEW
        assert len(greedy) >= FEW // 2
        for session in [*own, *greedy][:8]:
            session.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            session.close()
        wait_until(lambda: is_served(lab, other), 5, "another client being served")
        assert not any(is_served(lab, CLIENT) for _ in range(16))
        faithd.wait_said('end="over the client\'s share"', 16)
        assert is_served(lab, other)


def session_to(server: tuple[str, int], source: str | None) -> Any:
    return SimpleNamespace(
        port=server[1], route=SimpleNamespace(server=server[0], source=source), share=0
    )


def test_the_fill_is_of_the_server_that_has_most_ports(private_network: None) -> None:
    subprocess.run(["sysctl", "-qw", f"net.ipv4.ip_local_port_range={FIRST} {LAST}"], check=True)
    clock, shares = Clock(), SessionShares()
    some = [session_to(CROWDED_SERVER, None)] * 3 + [session_to(OTHER, "192.0.2.9")]
    ports = SourcePorts(clock, shares, lambda: some, workers=2)
    for _ in range(40):
        shares.add(0)
    assert ports.fill() == (30, (LAST - FIRST + 1) // 2), "three of four in the sample"
    for _ in range(40):
        shares.add(0)
    assert ports.fill()[0] == 30, "it was estimated a moment ago"
    clock.now += ESTIMATE
    assert ports.fill()[0] == 60
    some.clear()
    clock.now += ESTIMATE
    assert ports.fill()[0] == 0

"""The end of a daemon: a lame duck, then it drains, and an operator who takes that back."""

from __future__ import annotations

import contextlib
import json
import re
import select
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import dns.message
import dns.query
import pytest

from faith.daemon import shutdown
from faith.kernel.steering import METHODS
from faith.lab import wait_until
from faith.lab.topology import CLIENT, GATEWAY_V6, PREFIX, SERVER
from tests.dns.zones import EXAMPLE, NameServer, Zones
from tests.faithd import ENVIRONMENT
from tests.netns.datagrams import Echo as DatagramEcho
from tests.netns.datagrams import udp
from tests.netns.gateway import Gateway, metrics
from tests.netns.service import PORT, Echo, answers, connect, connect_from, refuses, relays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faith.lab import ThreeHosts

    Start = Callable[..., Gateway]

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("echo")]

MAPPED = "192.0.2.102"
MAP_PORT = 4000
"""On the IPv6 host that the map is for."""
UDP_PORT = 5555
ZONE = f"""{EXAMPLE}www 60 IN A {SERVER}
"""
BASE = f"""
workers = 2
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "{PORT}"
[[map]]
v4 = "{MAPPED}"
v6 = "{CLIENT}"
[udp]
[ping]
[dns]
listen = ["[{GATEWAY_V6}]:53"]
forward = ["{SERVER}"]
[metrics]
listen = "[::1]:9064"
[timeouts]
drain = 60
"""


@pytest.fixture
def start(lab: ThreeHosts, tmp_path: Path) -> Start:
    """Start a faithd by the text of a file, and wait until it serves."""
    return lambda text=BASE, **more: Gateway(lab, tmp_path, text, **more)


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket by which systemd is told, of a program started with `told_to`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(5)
        yield sock


def told_to(tmp_path: Path) -> dict[str, str]:
    return {"NOTIFY_SOCKET": str(tmp_path / "notify")}


def told(systemd: socket.socket, text: str) -> list[str]:
    """The next message with *text* in it, in lines; others before that are passed over."""
    while text not in (message := systemd.recv(4096).decode()):
        pass
    return message.splitlines()


def all_told(systemd: socket.socket) -> str:
    """All messages so far."""
    found = []
    while select.select([systemd], [], [], 0)[0]:
        found.append(systemd.recv(4096).decode())
    return "\n".join(found)


def faith(lab: ThreeHosts, *words: str) -> str:
    """What ``faith WORDS`` prints on the gateway, errors included."""
    command = [sys.executable, "-m", "faith.cli.faith", *words]
    done = lab.gateway.popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return done.communicate(timeout=30)[0]


def page(lab: ThreeHosts, name: str) -> tuple[int, str]:
    """The status and the body of a page of the admin listener."""

    def read() -> bytes:
        with socket.create_connection(("::1", 9064), timeout=5) as sock:
            sock.sendall(b"GET /%b HTTP/1.1\r\n\r\n" % name.encode())
            with sock.makefile("rb") as answer:
                return answer.read()

    head, _, body = lab.gateway.call(read).decode().partition("\r\n\r\n")
    return int(head.split()[1]), body


READY = 200, "ready\n"
LAME_DUCK = 503, "lame duck: it drains soon\n"
DRAINING = 503, "draining\n"


class Others:
    """What is served besides TCP: real clients of names, UDP and ping."""

    def __init__(self, lab: ThreeHosts, ping: str) -> None:
        self._lab = lab
        self._ping = ping

    def serve(self) -> bool:
        """Return whether each of them is served a client that it has not seen before."""
        return self.name() == [self._lab.mapped()] and self.datagram() and self.ping()

    def name(self) -> list[str]:
        query = dns.message.make_query("www.example.", "AAAA")
        reply = self._lab.client.call(lambda: dns.query.udp(query, GATEWAY_V6, timeout=5))
        return [str(rdata) for rrset in reply.answer for rdata in rrset]

    def datagram(self) -> bool:
        with udp(self._lab.client, CLIENT) as sock:
            sock.sendto(b"hello", (self._lab.mapped(), UDP_PORT))
            return sock.recv(100) == b"hello"

    def ping(self) -> bool:
        argv = [self._ping, "-n", "-c", "1", "-W", "2", self._lab.mapped()]
        return " 1 received" in self._lab.client.run(argv, check=False).stdout


@pytest.fixture
def others(lab: ThreeHosts, need: Callable[[str], str]) -> Iterator[Others]:
    names = lab.server.call(lambda: NameServer(Zones(ZONE), SERVER, 53))
    with names, contextlib.closing(DatagramEcho(lab.server, SERVER, UDP_PORT)):
        yield Others(lab, need("ping"))


def refuses_mapped(lab: ThreeHosts) -> bool:
    try:
        connect_from(lab.server, MAPPED, MAP_PORT).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.fixture
def mapped_host(lab: ThreeHosts) -> Iterator[None]:
    with contextlib.closing(Echo(lab.client, MAP_PORT)):
        yield


def relays_mapped(lab: ThreeHosts) -> bool:
    with connect_from(lab.server, MAPPED, MAP_PORT) as connection:
        return answers(connection)


@pytest.mark.parametrize("end", ["signal", "drain"])
def test_names_datagrams_and_pings_are_served_while_tcp_drains(
    lab: ThreeHosts, start: Start, others: Others, end: str
) -> None:
    faithd = start()
    assert others.serve()
    with udp(lab.client, CLIENT) as flow, connect(lab) as session:
        flow.sendto(b"before", (lab.mapped(), UDP_PORT))
        assert flow.recv(100) == b"before"
        assert answers(session)
        if end == "signal":
            faithd.signal(signal.SIGTERM)
        else:
            faith(lab, "drain")
        faithd.wait_said("stopping: sessions have 60 s to end")
        wait_until(lambda: refuses(lab), 5, "refusal")
        assert page(lab, "readyz") == DRAINING
        assert metrics(lab)["faith_draining"] == 1
        for _ in range(2):
            assert others.serve()
            flow.sendto(b"after", (lab.mapped(), UDP_PORT))
            assert flow.recv(100) == b"after"
            assert answers(session)
    assert faithd.process.wait(10) == 0
    records = [line for line in faithd.said.splitlines() if "udp" in line.lower()]
    assert len(records) >= 4, "each flow has its record, though none was idle yet"


def test_a_lame_duck_accepts_until_it_drains(
    lab: ThreeHosts, start: Start, others: Others, systemd: socket.socket, tmp_path: Path
) -> None:
    faithd = start(BASE + "lame_duck = 1\n", **told_to(tmp_path))
    with connect(lab) as session:
        assert answers(session)
        assert page(lab, "readyz") == READY
        faithd.signal(signal.SIGTERM)
        faithd.wait_said("a lame duck for 1 s")
        assert page(lab, "readyz") == LAME_DUCK
        assert page(lab, "healthz")[0] == 200
        assert relays(lab)
        assert "STATUS=lame duck, 1 session" in told(systemd, "lame duck")
        faithd.wait_said("stopping: sessions have 60 s to end")
        assert page(lab, "readyz") == DRAINING
        wait_until(lambda: refuses(lab), 5, "refusal")
        assert others.serve()
        assert answers(session)
    assert faithd.process.wait(10) == 0


def test_a_second_signal_ends_a_lame_duck_at_once(lab: ThreeHosts, start: Start) -> None:
    faithd = start(BASE + "lame_duck = 600\n")
    with connect(lab) as session:
        assert answers(session)
        faithd.signal(signal.SIGTERM)
        faithd.wait_said("a lame duck for 600 s")
        assert faithd.stop(10) == 0
        with pytest.raises(ConnectionResetError):
            session.recv(1)
    assert "another takes its place" not in faithd.said


def test_a_lame_duck_is_taken_back(lab: ThreeHosts, start: Start, others: Others) -> None:
    faithd = start()
    said = faith(lab, "drain", "--lame-duck", "600")
    assert said == "connections are accepted for 600 s more; open sessions: 0\n"
    assert page(lab, "readyz") == LAME_DUCK
    assert metrics(lab)["faith_lame_duck"] == 1
    assert "a lame duck: it drains soon" in faith(lab, "status")
    assert "it is being stopped" in faith(lab, "reload")
    assert faith(lab, "undrain") == "connections are accepted again\n"
    assert page(lab, "readyz") == READY
    assert metrics(lab)["faith_lame_duck"] == 0
    assert "lame duck" not in faith(lab, "status")
    assert "in force" in faith(lab, "reload")
    assert relays(lab)
    assert others.serve()
    assert "it does not drain" in faith(lab, "undrain")
    assert faithd.stop() == 0


@pytest.mark.usefixtures("mapped_host", "bpf_allowed")
@pytest.mark.parametrize("way", METHODS)
def test_a_drain_is_taken_back(lab: ThreeHosts, start: Start, others: Others, way: str) -> None:
    faithd = start(BASE.replace(f'"{PREFIX}"', f'"{PREFIX}"\nvia = "{way}"'))
    assert relays_mapped(lab)
    with connect(lab) as session, connect_from(lab.server, MAPPED, MAP_PORT) as inward:
        assert answers(session)
        assert answers(inward)
        for _ in range(2):
            assert "open sessions: 2" in faith(lab, "drain", "--forever")
            wait_until(lambda: refuses(lab) and refuses_mapped(lab), 5, "refusal")
            assert "taking no more" in faith(lab, "status")
            assert faith(lab, "undrain") == "connections are accepted again\n"
            assert page(lab, "readyz") == READY
            assert all(relays(lab) and relays_mapped(lab) for _ in range(10))
            assert answers(session)
            assert answers(inward)
            assert others.serve()
            wait_until(lambda: workers(lab) == 2, 5, "both workers")
    assert "in force" in faith(lab, "reload")
    assert faithd.process.poll() is None
    assert faithd.stop() == 0
    assert "Traceback" not in faithd.said


def running(lab: ThreeHosts) -> dict[str, Any]:
    """The only daemon, as ``faith status`` finds it."""
    (found,) = json.loads(faith(lab, "status", "--json"))["daemons"]
    return dict(found)


def workers(lab: ThreeHosts) -> int:
    """How many workers it has."""
    processes = running(lab)["processes"]
    return sum(one["role"].startswith("worker") and one["pid"] > 0 for one in processes)


def test_workers_that_ended_are_started_anew(lab: ThreeHosts, start: Start) -> None:
    """The other worker has no session: it ends as soon as the daemon drains."""
    faithd = start()
    processes = len(faithd.workers)
    with connect(lab) as session:
        assert answers(session)
        faith(lab, "drain", "--forever")
        wait_until(lambda: len(faithd.workers) == processes - 1, 5, "the end of the other worker")
        faith(lab, "undrain")
        assert len(faithd.workers) == processes
        assert all(relays(lab) for _ in range(10))
        assert answers(session)
    assert faithd.stop() == 0
    assert "another takes its place" not in faithd.said


def test_an_upgrade_follows_a_drain_that_was_taken_back(lab: ThreeHosts, start: Start) -> None:
    faithd = start()
    with connect(lab) as session:
        assert answers(session)
        faith(lab, "drain", "--forever")
        assert "nobody serves, or not for long" in faith(lab, "upgrade")
        faith(lab, "undrain")
        assert "upgraded" in faith(lab, "upgrade")
        assert answers(session)
        assert relays(lab)
    assert faithd.stop() == 0


def test_what_a_signal_began_is_not_taken_back(lab: ThreeHosts, start: Start) -> None:
    faithd = start()
    with connect(lab) as session:
        assert answers(session)
        faithd.signal(signal.SIGTERM)
        faithd.wait_said("stopping")
        assert "cannot be taken back" in faith(lab, "undrain")
        assert refuses(lab)
    assert faithd.process.wait(10) == 0


@pytest.mark.parametrize("words", [("--forever",), ("--lame-duck", "600", "--forever")])
def test_a_signal_makes_a_drain_final_and_limits_it(
    lab: ThreeHosts, start: Start, words: tuple[str, ...]
) -> None:
    faithd = start()
    with connect(lab) as session:
        assert answers(session)
        faith(lab, "drain", *words)
        faithd.signal(signal.SIGTERM)
        faithd.wait_said("stopping: sessions have 60 s to end")
        wait_until(lambda: refuses(lab), 5, "refusal")
        assert answers(session), "it has its time"
        assert "cannot be taken back" in faith(lab, "undrain")
        assert faithd.stop(10) == 0
        with pytest.raises(ConnectionResetError):
            session.recv(1)
    assert "end=stopped" in faithd.said


def test_a_port_taken_meanwhile_keeps_it_draining(lab: ThreeHosts, start: Start) -> None:
    start(BASE.replace(f'"{PREFIX}"', f'"{PREFIX}"\nvia = "route"'))
    with connect(lab) as session:
        assert answers(session)
        faith(lab, "drain", "--forever")
        address = "::", PORT
        with lab.gateway.call(lambda: socket.create_server(address, family=socket.AF_INET6)):
            assert "the port is taken by" in faith(lab, "undrain")
            assert page(lab, "readyz") == DRAINING
            assert answers(session)
        assert "accepted again" in faith(lab, "undrain")
        assert relays(lab)


@pytest.mark.timeout(60)
def test_systemd_waits_for_a_drain_without_limit(
    lab: ThreeHosts, start: Start, systemd: socket.socket, tmp_path: Path
) -> None:
    """It would end the unit TimeoutStopSec after STOPPING=1, were it not asked for more time."""
    systemd.settimeout(4 * shutdown.REPORT)
    faithd = start(**told_to(tmp_path))
    with connect(lab) as session:
        assert answers(session)
        all_told(systemd)
        faith(lab, "drain", "--forever")
        for _ in range(2):
            lines = told(systemd, "EXTEND_TIMEOUT_USEC=")
            assert "STATUS=draining, 1 session" in lines
            (extended,) = re.findall(r"^EXTEND_TIMEOUT_USEC=(\d+)$", "\n".join(lines), re.MULTILINE)
            assert int(extended) / 1e6 >= 2 * shutdown.REPORT
            assert "STOPPING=1" not in lines, "which could not be taken back"
        faith(lab, "undrain")
        assert "READY=1" in told(systemd, "STATUS=serving")
        faith(lab, "drain", "--forever")
    assert faithd.process.wait(10) == 0
    assert "STOPPING=1" in all_told(systemd)


def test_a_lame_duck_needs_a_number(lab: ThreeHosts, start: Start) -> None:
    start()
    assert "lame duck" in faith(lab, "drain", "--lame-duck", "10000000")
    assert page(lab, "readyz") == READY

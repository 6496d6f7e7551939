"""Probes of readiness, against real sockets of this machine."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING

import dns.message
import dns.rcode
import pytest

from faith.daemon.config.probe_settings import NO_PROBES, ProbeSettings
from faith.daemon.host.readiness_probes import NOT_YET, ReadinessProbes
from faith.daemon.observe import health
from faith.daemon.observe.health import RelayHealth
from faith.daemon.observe.status_report import Probe
from faith.daemon.process.loop import Loop
from faith.dns.endpoint import Endpoint
from tests.dns.zones import EXAMPLE, NameServer, Zones

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SOON = 0.05
"""Seconds between two probes."""


class Probing:
    """The probes of a daemon, and their loop."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.condition = RelayHealth([0] * health.LAYOUT.size)
        self.probes = ReadinessProbes(self.loop, self.condition)

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, self.probes.results()
            self.loop.later(0.01, self.loop.stop)
            self.loop.run()

    def outcome(self) -> list[str]:
        """The errors, once every probe has ended."""
        self.wait(lambda: all(one.error != NOT_YET for one in self.probes.results()))
        return [one.error for one in self.probes.results()]


@pytest.fixture
def probing() -> Iterator[Probing]:
    made = Probing()
    yield made
    made.probes.close()
    made.loop.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def at(sock: socket.socket) -> Endpoint:
    return Endpoint(*sock.getsockname()[:2])


def test_nothing_is_probed_that_is_not_configured(probing: Probing) -> None:
    probing.probes.apply(NO_PROBES)
    assert probing.probes.results() == []
    assert probing.probes.quorum() == []
    assert probing.condition.failing_probes == 0


def test_a_target_that_accepts_is_good_and_one_that_is_gone_is_not(
    probing: Probing, listener: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    target = at(listener)
    settings = ProbeSettings(targets=(target,), interval=SOON, timeout=SOON)
    probing.probes.apply(settings)
    assert probing.condition.failing_probes == 1  # until it is known
    assert probing.outcome() == [""]
    assert probing.probes.results() == [Probe(f"tcp {target}", True)]
    assert probing.condition.failing_probes == 0
    listener.close()
    probing.wait(lambda: probing.condition.failing_probes == 1)
    assert probing.outcome() == ["Connection refused"]
    assert f"probe tcp {target} fails: Connection refused" in caplog.text
    with socket.create_server((target.host, target.port)):
        probing.wait(lambda: probing.condition.failing_probes == 0)


@pytest.mark.parametrize("interval", [5.0, 0.1])
def test_a_target_that_does_not_answer_has_failed_in_time(
    probing: Probing, interval: float
) -> None:
    """The queue of a listener that accepts nobody is full: its kernel is silent."""
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(2):
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        probing.probes.apply(ProbeSettings(targets=(at(listener),), interval=interval, timeout=0.1))
        assert probing.outcome() == ["no answer in 0.1 s"]


def test_routes_are_looked_up(probing: Probing) -> None:
    probing.probes.apply(ProbeSettings(routes=((0x7F000001, 32), (0x7F000000, 8))))
    assert probing.outcome() == ["", ""]


def test_a_name_server_has_to_answer_for_the_name(probing: Probing) -> None:
    with NameServer(Zones(f"{EXAMPLE}www 60 IN A 192.0.2.1\n")) as server:
        here = (Endpoint(server.host, server.port),)
        probing.probes.apply(ProbeSettings(dns=here, dns_name="www.example."))
        assert probing.outcome() == [""]
        probing.probes.apply(NO_PROBES)
        probing.probes.apply(ProbeSettings(dns=here, dns_name="nobody.example."))
        assert probing.outcome() == ["it answers NXDOMAIN"]


def test_an_answer_to_another_question_is_none(probing: Probing) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)

        def answer() -> None:
            octets, client = server.recvfrom(512)
            query = dns.message.from_wire(octets)
            assert query.question[0].name == dns.name.root
            for number in (query.id ^ 1, query.id):
                reply = dns.message.make_response(query)
                reply.id = number
                reply.set_rcode(dns.rcode.SERVFAIL if number == query.id else dns.rcode.NOERROR)
                server.sendto(b"short", client)
                server.sendto(reply.to_wire(), client)

        thread = threading.Thread(target=answer)
        thread.start()
        probing.probes.apply(ProbeSettings(dns=(at(server),)))
        assert probing.outcome() == ["it answers SERVFAIL"]
        thread.join()


def test_what_is_known_of_a_probe_outlives_a_reload(
    probing: Probing, listener: socket.socket
) -> None:
    settings = ProbeSettings(targets=(at(listener),))
    probing.probes.apply(settings)
    assert probing.outcome() == [""]
    other = ProbeSettings(targets=(at(listener), Endpoint("127.0.0.1", 1)), workers=2)
    probing.probes.apply(other)
    assert [one.error for one in probing.probes.results()] == ["", NOT_YET]
    assert probing.outcome() == ["", "Connection refused"]


def test_a_quorum_of_workers_is_told_as_a_probe(probing: Probing) -> None:
    probing.probes.apply(ProbeSettings(workers=2))
    probing.condition.able(1)
    assert probing.probes.quorum() == [Probe("workers 2", False, "1 answer")]
    probing.condition.able(2)
    assert probing.probes.quorum() == [Probe("workers 2", True)]

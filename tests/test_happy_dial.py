"""Names and addresses dialled as RFC 8305 has it: real sockets, and names that answer on demand."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from faith.proxy.proxy_events import Target
from faith.relay.proxy import happy_dial
from faith.relay.proxy.happy_dial import MOST, Candidates, Connected, Dialling, HappyDial
from faith.relay.proxy.name_search import Found
from faith.relay.tcp import dial
from faith.relay.tcp.plane import Plane
from faith.translation import reasons
from faith.translation.proxied_destination import ProxiedVerdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SILENT = "192.0.2.1"
"""An address from which no answer comes."""


class Search:
    """A search that its test answers."""

    def __init__(self, name: str, found: Callable[[Found], object]) -> None:
        self.name = name
        self.found = found
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


def until(loop: asyncio.AbstractEventLoop, done: Callable[[], object]) -> None:
    """Run *loop* until *done*, or fail."""

    async def wait() -> None:
        deadline = time.monotonic() + 10
        while not done():
            assert time.monotonic() < deadline, "it did not happen"
            await asyncio.sleep(0.001)  # poll: what the loop does meanwhile

    loop.run_until_complete(wait())


class Bench:
    """A plane, names on demand, and servers on addresses of the loopback interface."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.plane = Plane(loop, lambda leg, mask: None, lambda session: None)
        self.refused: dict[str, str] = {}
        self.failing: dict[str, int] = {}
        self.judged: list[str] = []
        self.dialled: list[str] = []
        self.searches: list[Search] = []
        self.outcomes: list[Connected | str] = []
        self.sockets: list[socket.socket] = []
        self.port = 0
        self.means = Dialling(loop, self.plane, self, self.judge, self.connect, str, 1)

    def serve(self, *addresses: str) -> None:
        """Listen at all of these addresses, at one port."""
        for address in addresses:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            self.sockets.append(socket.create_server((address, self.port), family=family))
            self.port = self.sockets[-1].getsockname()[1]

    # -- the means ---------------------------------------------------------------------------

    def look_up(self, name: str, found: Callable[[Found], object], client: int) -> Search:
        self.searches.append(Search(name, found))
        return self.searches[-1]

    def judge(self, address: str, port: int) -> ProxiedVerdict:
        self.judged.append(address)
        return ProxiedVerdict(self.refused.get(address), address, port)

    def connect(self, verdict: ProxiedVerdict) -> tuple[Any, int]:
        self.dialled.append(verdict.server)
        if verdict.server in self.failing:
            raise OSError(self.failing[verdict.server], "no source")
        if verdict.server == SILENT:
            sock = socket.socket()
            sock.setblocking(False)
            sock.bind(("127.0.0.1", 0))
            return self.silent(sock), errno.EINPROGRESS
        return dial.connect(verdict.server, verdict.port)

    def silent(self, sock: socket.socket) -> socket.socket:
        """Have *sock* connect to where nothing is answered: a queue of connections that is full."""
        full = socket.create_server(("127.0.0.1", 0), backlog=0)
        first = socket.create_connection(full.getsockname())
        sock.setblocking(False)
        assert sock.connect_ex(full.getsockname()) == errno.EINPROGRESS
        self.sockets += [full, first]
        return sock

    # -- the test's --------------------------------------------------------------------------

    def dial(self, host: str, seconds: float = 5.0) -> HappyDial:
        is_address = ":" in host or host[0].isdigit()
        target = Target(host, self.port or 9, is_address)
        return HappyDial(self.means, target, seconds, self.outcomes.append)

    def answer(self, family: int, *addresses: str, failure: str | None = None) -> None:
        self.searches[-1].found(Found(family, addresses, failure))

    def until(self, done: Callable[[], object]) -> None:
        until(self.loop, done)

    def outcome(self) -> Connected | str:
        self.until(lambda: self.outcomes)
        (outcome,) = self.outcomes
        return outcome

    def server(self) -> str:
        outcome = self.outcome()
        assert isinstance(outcome, Connected), outcome
        assert outcome.error == 0
        assert outcome.sock.getpeername()[:2] == (outcome.address, self.port)
        outcome.sock.close()
        return outcome.address

    def close(self) -> None:
        self.plane.close()
        for sock in self.sockets:
            sock.close()


@pytest.fixture(params=["uvloop", "asyncio"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    loop = uvloop.new_event_loop() if request.param == "uvloop" else asyncio.new_event_loop()
    bench = Bench(loop)
    before = len(os.listdir("/proc/self/fd"))
    yield bench
    for sock in bench.sockets:
        sock.close()
    assert len(os.listdir("/proc/self/fd")) == before, "a descriptor has stayed behind"
    bench.close()
    loop.close()


def test_an_address(bench: Bench) -> None:
    bench.serve("127.0.0.1")
    bench.dial("127.0.0.1")
    assert bench.server() == "127.0.0.1"
    assert bench.judged == ["127.0.0.1"]
    assert not bench.searches


def test_an_address_that_refuses(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        bench.port = gone.getsockname()[1]
    bench.dial("127.0.0.1")
    assert bench.outcome() == reasons.REFUSED


def test_what_is_not_permitted_is_not_dialled(bench: Bench) -> None:
    bench.refused["127.0.0.1"] = reasons.DENIED
    bench.dial("127.0.0.1")
    assert not bench.outcomes, "its caller is told later"
    assert bench.outcome() == reasons.DENIED
    assert not bench.dialled


def test_ipv6_goes_first(bench: Bench) -> None:
    bench.serve("127.0.0.1", "::1")
    bench.dial("www.example.org")
    assert bench.searches[0].name == "www.example.org"
    bench.answer(4, "127.0.0.1")
    bench.answer(6, "::1")
    assert bench.server() == "::1"
    assert bench.dialled == ["::1"]


def test_ipv4_does_not_wait_long(bench: Bench) -> None:
    bench.serve("127.0.0.1")
    bench.dial("www.example.org")
    bench.answer(4, "127.0.0.1")
    assert not bench.dialled
    assert bench.server() == "127.0.0.1"
    assert bench.searches[0].cancelled


def test_ipv4_does_not_wait_for_what_will_not_come(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(happy_dial, "RESOLUTION_DELAY", 60.0)
    bench.serve("127.0.0.1")
    bench.dial("www.example.org")
    bench.answer(4, "127.0.0.1")
    bench.answer(6)
    assert bench.server() == "127.0.0.1"


def test_the_next_is_tried_at_once_when_one_fails(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(happy_dial, "ATTEMPT_DELAY", 60.0)
    bench.serve("127.0.0.3")
    bench.refused["127.0.0.2"] = reasons.DENIED
    bench.dial("www.example.org")
    bench.answer(6, "::1")
    bench.answer(4, "127.0.0.1", "127.0.0.2", "127.0.0.3")
    assert bench.server() == "127.0.0.3"
    assert bench.judged == ["::1", "127.0.0.1", "127.0.0.2", "127.0.0.3"]
    assert bench.dialled == ["::1", "127.0.0.1", "127.0.0.3"]


def test_the_next_is_tried_beside_one_that_does_not_answer(bench: Bench) -> None:
    bench.serve("127.0.0.1")
    bench.dial("www.example.org")
    bench.answer(6)
    bench.answer(4, SILENT, "127.0.0.1")
    assert bench.server() == "127.0.0.1"


def test_those_that_do_not_answer_make_room(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(happy_dial, "PATIENCE", 0.3)
    bench.serve("127.0.0.1")
    bench.dial("www.example.org")
    bench.answer(6)
    bench.answer(4, SILENT, SILENT, SILENT, "127.0.0.1")
    assert bench.server() == "127.0.0.1"


def test_an_answer_that_comes_late_is_tried_too(bench: Bench) -> None:
    bench.serve("::1")
    bench.dial("www.example.org")
    bench.answer(4, "127.0.0.1")
    bench.until(lambda: bench.dialled)
    bench.loop.run_until_complete(asyncio.sleep(0))
    bench.answer(6, "::1")
    assert bench.server() == "::1"


@pytest.mark.parametrize("is_silent", [False, True])
def test_a_name_without_addresses(bench: Bench, is_silent: bool) -> None:
    bench.dial("www.example.org")
    bench.answer(6)
    bench.answer(4, failure=reasons.NAME_FAILED if is_silent else None)
    assert bench.outcome() == (reasons.NAME_FAILED if is_silent else reasons.NO_NAME)


def test_a_name_that_nobody_looks_up(bench: Bench) -> None:
    bench.means = bench.means._replace(names=None)
    bench.dial("www.example.org")
    assert bench.outcome() == reasons.NAME_FAILED


def test_a_name_that_is_not_answered_in_time(bench: Bench) -> None:
    bench.dial("www.example.org", 0.05)
    assert bench.outcome() == reasons.NAME_FAILED
    assert bench.searches[0].cancelled


def test_a_server_that_does_not_answer_in_time(bench: Bench) -> None:
    bench.dial(SILENT, 0.05)
    assert bench.outcome() == reasons.TIMEOUT


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (reasons.UNREACHABLE, reasons.DENIED, reasons.DENIED),
        (reasons.REFUSED, reasons.DENIED, reasons.REFUSED),
        (reasons.SPECIAL, reasons.TIMEOUT, reasons.SPECIAL),
        (reasons.UNREACHABLE, f"{reasons.SHED}: all places are taken", reasons.SHED),
        ("nobody knows", reasons.TIMEOUT, reasons.TIMEOUT),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_the_most_telling_reason_is_told(
    bench: Bench, first: str, second: str, told: str, turned: bool
) -> None:
    bench.refused = {"2001:db8::1": first, "192.0.2.9": second}
    if turned:
        bench.refused = {"2001:db8::1": second, "192.0.2.9": first}
    bench.dial("www.example.org")
    bench.answer(6, "2001:db8::1")
    bench.answer(4, "192.0.2.9")
    outcome = bench.outcome()
    assert isinstance(outcome, str)
    assert outcome.partition(":")[0] == told


def test_an_attempt_that_cannot_begin(bench: Bench) -> None:
    bench.failing["127.0.0.1"] = errno.EADDRNOTAVAIL
    bench.dial("127.0.0.1")
    assert "no source" in str(bench.outcome())


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (errno.ENETUNREACH, "unreachable: Network is unreachable"),
        (errno.EHOSTUNREACH, "unreachable: No route to host"),
        (errno.ECONNREFUSED, reasons.REFUSED),
    ],
)
def test_what_is_unreachable_has_details(bench: Bench, error: int, told: str) -> None:
    bench.means = bench.means._replace(connect=lambda _: (socket.socket(), error))
    bench.dial("127.0.0.1")
    assert bench.outcome() == told


def test_few_of_many_addresses_are_tried(bench: Bench) -> None:
    many = [f"127.0.1.{host}" for host in range(100)]
    bench.refused = dict.fromkeys(many, reasons.DENIED)
    bench.dial("www.example.org")
    bench.answer(6)
    bench.answer(4, *many)
    assert bench.outcome() == reasons.DENIED
    assert len(bench.judged) == MOST


def test_nothing_is_told_after_the_end(bench: Bench) -> None:
    bench.serve("127.0.0.1")
    first = bench.dial("www.example.org")
    bench.answer(6)
    bench.answer(4, "127.0.0.1")
    first.cancel()
    bench.answer(4, "127.0.0.1")
    bench.refused["127.0.0.1"] = reasons.DENIED
    bench.dial("127.0.0.1").cancel()
    bench.loop.run_until_complete(asyncio.sleep(0.02))  # time: for what is not to come
    assert not bench.outcomes


def test_families_take_turns() -> None:
    candidates = Candidates()
    candidates.add(Found(4, ("a4", "b4", "c4")))
    assert candidates.take() == "a4"
    candidates.add(Found(6, ("a6", "b6")))
    assert [candidates.take() for _ in range(4)] == ["a6", "b4", "b6", "c4"]
    assert not candidates


def test_a_server_that_resets_at_once_has_answered(bench: Bench) -> None:
    bench.serve("127.0.0.1")
    real = bench.connect

    def connect(verdict: ProxiedVerdict) -> tuple[Any, int]:
        sock, error = real(verdict)
        accepted, _ = bench.sockets[0].accept()
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        accepted.close()
        return sock, error

    bench.means = bench.means._replace(connect=connect)
    bench.dial("127.0.0.1")
    outcome = bench.outcome()
    assert isinstance(outcome, Connected)
    assert outcome.error == errno.ECONNRESET
    outcome.sock.close()

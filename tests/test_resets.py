"""Resets that wait for acknowledgements: real connections, and a clock that the test turns."""

from __future__ import annotations

import contextlib
import errno
import heapq
import itertools
from typing import TYPE_CHECKING, Any

import pytest

from faith.kernel.sockets.tcp_sockets import LONGEST, QUIET, unacknowledged
from faith.relay.tcp import resets as module
from faith.relay.tcp.resets import INTERVAL, LOOK, Resets
from faith.relay.tcp.routing import Route
from faith.relay.tcp.session import Session
from tests.narrow import in_flight, narrow_pair
from tests.test_plane import PEER

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator


SEGMENT = 1000


class Timer:
    """A call to come; as much of asyncio.TimerHandle as is asked of it."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class Clock:
    """The event loop's, which goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.delays: list[float] = []
        self._order = itertools.count()
        self._calls: list[tuple[float, int, Timer]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(callback)
        self.delays.append(delay)
        heapq.heappush(self._calls, (self.now + delay, next(self._order), timer))
        return timer

    def go_on(self, seconds: float) -> None:
        """Let time pass, and what is due happen."""
        until = self.now + seconds
        while self._calls and self._calls[0][0] <= until:
            self.now, _, timer = heapq.heappop(self._calls)
            if timer.callback:
                timer.callback()
        self.now = until

    @property
    def waiting(self) -> int:
        return sum(1 for _, _, timer in self._calls if timer.callback)


class Ends:
    """Resets on a clock, sessions for them, and which of these have ended."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.over: list[Session] = []
        loop: Any = self.clock
        self.resets = Resets(loop, self._due)
        self._sockets: list[Any] = []

    def _due(self, session: Session) -> None:
        self.over.append(session)

    def session(self, unread: bool = True) -> tuple[Session, socket.socket]:
        """A session whose server has failed, with all from it passed on, and its client's end."""
        client, client_leg = narrow_pair(SEGMENT)
        server, server_leg = narrow_pair()
        self._sockets += [client, client_leg, server, server_leg]
        session = Session(client_leg, server_leg, PEER, Route("::"), 1, self.clock.now)
        session.server.error = errno.ECONNRESET
        session.server.done = True
        if unread:
            self._fill(client_leg)
        return session, client

    def _fill(self, leg: socket.socket) -> None:
        """Leave no room, and nothing whose acknowledgement is still to come: the clock is not."""
        while True:
            settled = not in_flight(leg.fileno())
            try:
                leg.send(bytes(SEGMENT))
            except BlockingIOError:
                if settled:
                    return

    def add(self, unread: bool = True) -> tuple[Session, socket.socket]:
        session, client = self.session(unread)
        self.resets.add(session, session.server)
        return session, client

    def drain(self, session: Session, client: socket.socket) -> None:
        """Have *client* acknowledge all."""
        while unacknowledged(session.client.fd):
            with contextlib.suppress(BlockingIOError):
                client.recv(1 << 20)

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.close()


def test_a_reset_that_has_nothing_to_wait_for_is_due_at_once(ends: Ends) -> None:
    session, _ = ends.add(unread=False)
    assert ends.over == [session]
    assert not ends.clock.waiting


def test_what_is_still_to_be_passed_on_is_waited_for(ends: Ends) -> None:
    session, _ = ends.session(unread=False)
    session.server.done = False
    ends.resets.add(session, session.server)
    ends.clock.go_on(0.1)
    assert not ends.over
    session.server.done = True
    ends.clock.go_on(0.1)
    assert ends.over == [session]


def test_it_is_due_when_all_is_acknowledged(ends: Ends) -> None:
    session, client = ends.add()
    ends.clock.go_on(1)
    assert not ends.over
    ends.drain(session, client)
    ends.clock.go_on(INTERVAL + 2 * LOOK)
    assert ends.over == [session]
    ends.clock.go_on(10)
    assert ends.over == [session], "once"
    assert not ends.clock.waiting


def test_a_peer_that_acknowledges_nothing_is_waited_for_so_long(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The kernel's own clock goes on: it probes the window, which may let some more through.
    monkeypatch.setattr(module, "unacknowledged", lambda fd: 50_000)
    session, _ = ends.add()
    ends.clock.go_on(QUIET - 0.1)
    assert not ends.over
    ends.clock.go_on(0.2)
    assert ends.over == [session]


@pytest.mark.parametrize("by", ["acknowledgements", "octets"])
def test_a_peer_that_reads_on_has_more_time_but_not_for_ever(
    ends: Ends, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = 50_000
    if by == "acknowledgements":
        monkeypatch.setattr(module, "unacknowledged", lambda fd: left)
    session, _ = ends.add()
    steps = int(LONGEST / (QUIET - 0.5))
    for _ in range(steps):
        ends.clock.go_on(QUIET - 0.5)
        assert not ends.over
        if by == "octets":
            session.server.moved += 1
        else:
            left -= 1000
    ends.clock.go_on(LONGEST - steps * (QUIET - 0.5) - 0.1)
    assert not ends.over
    ends.clock.go_on(0.2)
    assert ends.over == [session]


def test_there_is_one_look_for_all_and_later_the_more_there_are(ends: Ends) -> None:
    ends.add()
    others = [ends.add()[0] for _ in range(2)]
    assert ends.clock.delays == [pytest.approx(INTERVAL + LOOK)]
    ends.clock.go_on(INTERVAL + LOOK)
    assert ends.clock.delays[1:] == [pytest.approx(INTERVAL + 3 * LOOK)]
    for session in others:
        ends.resets.discard(session)
    ends.clock.go_on(INTERVAL + 3 * LOOK)
    assert ends.clock.delays[2:] == [pytest.approx(INTERVAL + LOOK)]


def test_looks_are_cheap() -> None:
    """A thousand that wait are looked at some ten times a second."""
    assert 0.05 < INTERVAL + LOOK * module.MOST < 0.5
    assert INTERVAL < 0.01


def test_too_many_have_the_oldest_end(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    first, second = ends.add()[0], ends.add()[0]
    assert not ends.over
    ends.add()
    assert ends.over == [first]
    ends.add()
    assert ends.over == [first, second]
    ends.add(unread=False)
    assert len(ends.over) == 3, "it needs no room"


def test_one_that_waits_and_fails_again_stays_and_costs_nobody_else_his_place(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    left: dict[int, int] = {}
    monkeypatch.setattr(module, "unacknowledged", lambda fd: left.get(fd, 50_000))
    (first, _), (second, _) = ends.add(), ends.add()
    ends.clock.go_on(QUIET / 2)
    for session in (first, second):
        ends.resets.add(session, session.server)
    assert not ends.over
    left[first.client.fd] = 0
    ends.clock.go_on(QUIET / 2 + 0.1)
    assert ends.over == [first, second], "a second failure gives it no more time"


def test_one_that_ended_otherwise_is_forgotten(ends: Ends) -> None:
    session, _ = ends.add()
    other, _ = ends.session()
    ends.resets.discard(other)
    ends.resets.discard(session)
    ends.resets.discard(session)
    ends.clock.go_on(QUIET * 2)
    assert not ends.over
    assert not ends.clock.waiting


def test_want_of_memory_does_not_stop_the_looks(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, client = ends.add()
    ends.drain(session, client)
    failures = iter([MemoryError()])

    def fail_once(fd: int) -> int:
        for failure in failures:
            raise failure
        return unacknowledged(fd)

    monkeypatch.setattr(module, "unacknowledged", fail_once)
    ends.clock.go_on(1)
    assert ends.over == [session]


def test_close_forgets_all(ends: Ends) -> None:
    ends.resets.close()
    session, client = ends.add()
    ends.resets.close()
    assert not ends.clock.waiting
    ends.drain(session, client)
    ends.clock.go_on(1)
    assert not ends.over
    again, _ = ends.add()
    ends.clock.go_on(QUIET + 1)
    assert ends.over == [again], "it can go on"

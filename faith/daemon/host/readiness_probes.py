"""Probes of readiness: routes, TCP targets and DNS servers that a daemon cannot do without.

They are made by the supervisor's loop, which never waits for one: a probe that is not answered in
time has failed.  Nothing is probed that is not configured.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import socket
from functools import partial
from typing import TYPE_CHECKING

from faith.daemon.config.probe_settings import NO_PROBES
from faith.daemon.observe.log import NOTICE
from faith.daemon.observe.status_report import Probe
from faith.dns.wire import (
    HEADER,
    IN,
    NOERROR,
    NS,
    NXDOMAIN,
    QR,
    RCODE,
    RD,
    REFUSED,
    SERVFAIL,
    TYPE_CLASS,
    A,
    name_on_wire,
)
from faith.kernel.netlink import uplink
from faith.translation.address import text4

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.daemon.config.probe_settings import ProbeSettings
    from faith.daemon.observe.health import RelayHealth
    from faith.daemon.process.loop import Loop
    from faith.dns.endpoint import Endpoint

    Done = Callable[[str], object]
    """Called once with the error of a probe, "" if it was good."""
    Begin = Callable[["Attempt"], None]

log = logging.getLogger("faith.supervisor")

NOT_YET = "not probed yet"

_SAID = {SERVFAIL: "SERVFAIL", NXDOMAIN: "NXDOMAIN", REFUSED: "REFUSED"}


class ReadinessProbes:
    """The probes of a daemon, whose *condition* takes note of how many fail."""

    def __init__(self, loop: Loop, condition: RelayHealth) -> None:
        self._loop = loop
        self._condition = condition
        self._settings = NO_PROBES
        self._errors: dict[str, str] = {}
        self._under_way: list[Attempt] = []
        self._next: Callable[[], object] = lambda: None

    def apply(self, settings: ProbeSettings) -> None:
        """Probe by *settings* from now on; the outcome of a probe that stays is kept."""
        self.close()
        self._settings = settings
        self._errors = {name: self._errors.get(name, NOT_YET) for name, _ in self._all()}
        self._condition.need(settings.workers)
        self._count()
        if self._errors:
            self._probe()

    def results(self) -> list[Probe]:
        """Return the last outcome of each probe."""
        return [Probe(name, not error, error) for name, error in self._errors.items()]

    def quorum(self) -> list[Probe]:
        """Return whether as many workers answer as are needed; nothing if all of them are."""
        needed, able = self._condition.quorum
        error = "" if able >= needed else f"{able} answer"
        return [Probe(f"workers {needed}", not error, error)] if needed else []

    def close(self) -> None:
        """Probe no more."""
        self._next()
        for attempt in self._under_way:
            attempt.close()
        self._under_way.clear()

    def _all(self) -> Iterator[tuple[str, Begin]]:
        settings = self._settings
        for network in settings.routes:
            yield f"route {text4(*network)}", partial(_look_up, *network)
        for target in settings.targets:
            yield f"tcp {target}", partial(_connect, target)
        for server in settings.dns:
            yield f"dns {server}", partial(_ask, server, settings.dns_name)

    def _probe(self) -> None:
        self._next = self._loop.later(self._settings.interval, self._probe)
        for attempt in self._under_way:
            attempt.expire()  # its time may be up at this very moment
        self._under_way = []
        for name, begin in self._all():
            attempt = Attempt(self._loop, self._settings.timeout, partial(self._done, name))
            self._under_way.append(attempt)
            try:
                begin(attempt)
            except OSError as error:
                attempt.end(error.strerror or str(error))

    def _done(self, name: str, error: str) -> None:
        before, self._errors[name] = self._errors[name], error
        if error and before in ("", NOT_YET):
            log.warning("probe %s fails: %s", name, error)
        elif before and not error:
            log.log(NOTICE, "probe %s is good", name)
        self._count()

    def _count(self) -> None:
        self._condition.failing(sum(map(bool, self._errors.values())))


class Attempt:
    """A probe under way; *done* is called when it ends, after *seconds* at the latest."""

    def __init__(self, loop: Loop, seconds: float, done: Done) -> None:
        self._loop = loop
        self._done: Done | None = done
        self._sock: socket.socket | None = None
        self._seconds = seconds
        self._call_off = loop.later(seconds, self.expire)

    def wait(self, sock: socket.socket, ready: Callable[[], object], *, writable: bool) -> None:
        """Own *sock*, and call *ready* whenever it can be read, or written to if *writable*."""
        self._sock = sock
        self._loop.watch(sock, ready, writable=writable)

    def end(self, error: str = "") -> None:
        """Take note of the outcome, unless there is one."""
        if done := self._done:
            self.close()
            done(error)

    def expire(self) -> None:
        """Take note that there was no answer, unless there is an outcome."""
        self.end(f"no answer in {self._seconds:g} s")

    def close(self) -> None:
        """Forget it; a no-op the second time."""
        self._done = None
        self._call_off()
        if self._sock:
            self._loop.forget(self._sock)
            self._sock.close()
            self._sock = None


def _look_up(network: int, length: int, attempt: Attempt) -> None:
    """Look up the route to the first host of a network."""
    host = network if length > 30 else network + 1
    attempt.end(uplink.obstacle(host if length else uplink.FAR_AWAY))


def _connect(target: Endpoint, attempt: Attempt) -> None:
    """Connect to *target*, and hang up."""
    family, address = target.address()
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)

    def connected() -> None:
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        attempt.end(os.strerror(number) if number else "")

    attempt.wait(sock, connected, writable=True)
    number = sock.connect_ex(address)
    if number not in (0, errno.EINPROGRESS):
        attempt.end(os.strerror(number))


def _ask(server: Endpoint, name: str, attempt: Attempt) -> None:
    """Ask *server* by UDP for the address of *name*, or for the servers of the root."""
    family, address = server.address()
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    number = secrets.randbelow(1 << 16)

    def received() -> None:
        try:
            answer = sock.recv(512)
        except BlockingIOError:
            return
        except OSError as error:
            attempt.end(error.strerror or str(error))
            return
        if _is_answer(answer, number):
            attempt.end(_error_in(answer))

    attempt.wait(sock, received, writable=False)
    sock.connect(address)
    sock.send(_query(name, number))


def _query(name: str, number: int) -> bytes:
    """Return a query with recursion desired (RFC 1035 §4.1)."""
    kind = NS if name == "." else A
    return HEADER.pack(number, RD, 1, 0, 0, 0) + name_on_wire(name) + TYPE_CLASS.pack(kind, IN)


def _is_answer(message: bytes, number: int) -> bool:
    if len(message) < HEADER.size:
        return False
    found, flags, *_ = HEADER.unpack_from(message)
    return found == number and bool(flags & QR)


def _error_in(message: bytes) -> str:
    """Return the error that an answer says, "" for one with an address or without."""
    rcode = HEADER.unpack_from(message)[1] & RCODE
    return "" if rcode == NOERROR else f"it answers {_SAID.get(rcode, f'RCODE {rcode}')}"

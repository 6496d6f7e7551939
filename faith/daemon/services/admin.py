"""The admin listener: ``/metrics``, ``/healthz``, ``/readyz`` and ``/status.json``.

It is a process of its own.
It has no privilege, no connection of anybody's and no way to change anything: it reads the
counters that the others share.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from faith.daemon.process.child import Child
from faith.daemon.process.messages import Ready, WantReport
from faith.daemon.process.preamble import confine_child
from faith.daemon.process.worker_pool import WorkerPool
from faith.daemon.services.latest_report import TOPIC, LatestReport, ReportSource
from faith.daemon.services.rolling_restart import ProcessGroup
from faith.errors import SetupError
from faith.kernel.descriptor import Descriptor
from faith.kernel.sockets.tcp_sockets import may_be_absent
from faith.translation.address import number6
from faith.translation.shares import CLIENT_LENGTH, Shares, client

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from faith.daemon.observe.exposition import Exposition
    from faith.daemon.observe.health import Health
    from faith.daemon.observe.process_slots import ProcessSlots
    from faith.daemon.process.loop import Loop
    from faith.daemon.process.messages import ProcessChannel, Report
    from faith.daemon.process.peer import Worker
    from faith.daemon.process.worker_pool import Handler
    from faith.daemon.services.interface import Leave
    from faith.translation.shares import Place

LONGEST = 8192
"""Octets of a request's head."""
PATIENCE = 5.0
"""Seconds a client has for its request, and to take the answer."""
CLIENTS = 32
"""Connections at a time, of which each client has a share; more are turned away."""
JOSTLE = 1.0
"""Seconds that a client's connection has, once the client has its share and comes again."""
BACKLOG = 64

_PLAIN = "text/plain; charset=utf-8"

log = logging.getLogger("faith.admin")


class Response(NamedTuple):
    """An HTTP response: status, body and content type."""

    status: HTTPStatus
    body: bytes
    content_type: str = _PLAIN

    def message(self, *, head_only: bool) -> bytes:
        """Return the response as octets of HTTP/1.1, without its body if *head_only*."""
        head = (
            f"HTTP/1.1 {self.status.value} {self.status.phrase}\r\n"
            f"Content-Type: {self.content_type}\r\nContent-Length: {len(self.body)}\r\n"
            "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + (b"" if head_only else self.body)


class Pages:
    """The pages of the listener: *exposition* of the metrics, the *condition* of the daemon, and
    its latest *report*, if it makes any."""

    def __init__(
        self, exposition: Exposition, condition: Health, report: LatestReport | None = None
    ) -> None:
        self._exposition = exposition
        self._condition = condition
        self._report = report
        self._pages: dict[str, Callable[[str], Response]] = {
            "/metrics": self._metrics,
            "/healthz": self._health,
            "/readyz": self._readiness,
        }
        if report:
            self._pages["/status.json"] = self._status

    async def answer(self, head: bytes) -> bytes:
        """The whole answer to a request, of which *head* ends with its empty line."""
        first, *lines = head.decode("latin-1").split("\r\n")
        method, _, rest = first.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        page = self._pages.get(path)
        if page is None:
            response = _plain(HTTPStatus.NOT_FOUND, *self._pages)
        elif method not in ("GET", "HEAD"):
            response = _plain(HTTPStatus.METHOD_NOT_ALLOWED, "only GET")
        else:
            if self._report and self._shows_report(path):
                await self._report.refresh()
            response = page(_accepted(lines))
        return response.message(head_only=method == "HEAD")

    def _shows_report(self, path: str) -> bool:
        return path == "/status.json" or (path == "/readyz" and self._condition.failing_probes > 0)

    def _metrics(self, accept: str) -> Response:
        body, content_type = self._exposition.text(accept)
        return Response(HTTPStatus.OK, body, content_type)

    def _health(self, accept: str) -> Response:
        return _plain(HTTPStatus.OK, "alive")

    def status(self) -> bytes:
        """Return the latest report as JSON; b"" before there is one."""
        return self._report.text if self._report else b""

    def _status(self, accept: str) -> Response:
        if text := self.status():
            return Response(HTTPStatus.OK, text, "application/json")
        return _plain(HTTPStatus.SERVICE_UNAVAILABLE, "the daemon does not say what it does")

    def _readiness(self, accept: str) -> Response:
        obstacles = list(self._condition.obstacles())
        if self._report and self._condition.failing_probes:
            obstacles += self._report.failed_probes()
        if obstacles:
            return _plain(HTTPStatus.SERVICE_UNAVAILABLE, *obstacles)
        return _plain(HTTPStatus.OK, "ready")


def _plain(status: HTTPStatus, *lines: str) -> Response:
    return Response(status, "".join(f"{line}\n" for line in lines).encode())


def _accepted(lines: list[str]) -> str:
    """The value of the Accept header."""
    for line in lines:
        name, _, value = line.partition(":")
        if name.lower() == "accept":
            return value.strip()
    return ""


class Visits:
    """The connections to the listener, of which each client has a share.

    A client is an IPv4 address, or all IPv6 addresses with the first *length* bits in common.
    """

    def __init__(self, length: int = CLIENT_LENGTH) -> None:
        self._length = length
        self._places = Shares(CLIENTS, JOSTLE)
        self._here: set[Place] = set()

    def enter(self, transport: asyncio.WriteTransport, now: float) -> Place | None:
        """Take a place for a connection, for `leave`; None where there is none for its client.

        It may be that of an older one of the same client, which ends.
        """
        peer = transport.get_extra_info("peername")
        if peer is None:  # it has gone
            return None
        who, places = client(number6(peer[0]), self._length), self._places
        if not places.admits(who):
            oldest = places.displaceable(who, now)
            if oldest is None:
                return None
            oldest.holder.abort()
            self.leave(oldest)
        place = places.enter(who, transport, now)
        self._here.add(place)
        return place

    def leave(self, place: Place) -> None:
        """Give *place* back, unless it was displaced."""
        if place in self._here:
            self._here.remove(place)
            self._places.leave(place)


class Admin(ProcessGroup):
    """The listener on *address*, and the process that answers there, as *user*.

    The process shows the metrics in *slots*, and by *life* whether the daemon serves.  *leave* is
    called in this process, with what it keeps of the supervisor's.  *left* is the `state` of the
    listener of the predecessor process; the first socket that is *given* is used in any case.
    *length* is of the prefix that is one client; *report* returns the status report, for
    ``/status.json``.  Raises SetupError.
    """

    def __init__(
        self,
        loop: Loop,
        address: tuple[str, int],
        slots: ProcessSlots,
        life: Health,
        user: str,
        leave: Leave,
        left: list[Any] | None = None,
        given: Sequence[socket.socket] = (),
        length: int = CLIENT_LENGTH,
        report: Callable[[], str] | None = None,
    ) -> None:
        self._length = length
        self._address = address
        self._slots = slots
        self._life = life
        self._user = user
        self._leave = leave
        inherited = _inherited(address, left)
        self._sock = given[0] if given else inherited or _listening(*address)
        self._sock.setblocking(False)
        self._source = ReportSource(loop, report, self._publish) if report else None
        handlers: dict[type[Report], Handler] = {WantReport: self._asked}
        super().__init__(WorkerPool(loop, self._work, handlers, "admin listener"))

    def _asked(self, worker: Worker, message: WantReport, descriptors: list[int]) -> None:
        if self._source:
            self._source.want()

    def _publish(self, report: str) -> None:
        self.pool.desire(TOPIC, lambda: report, binding=False)

    def state(self) -> list[Any]:
        """The address and the listener, for the next program."""
        return [*self._address, Descriptor.of(self._sock)]

    def release(self) -> None:
        """Close the listener, in this process."""
        self._sock.close()

    # -- in its process ----------------------------------------------------------------------

    def _work(self, number: int, channel: ProcessChannel) -> None:
        # What it imports is for this process only; the next user may not be able to read it.
        from faith.daemon.observe.exposition import Exposition

        self._leave([channel, self._sock])
        confine_child(self._user, connects=False)
        report = LatestReport(channel) if self._source else None
        pages = Pages(Exposition(self._slots), self._life, report)
        asyncio.run(_serve(self._sock, pages, channel, Visits(self._length), report))


def close_inherited(left: list[Any] | None) -> None:
    """Close the listener in the `state` that the predecessor process *left*, if there is one."""
    if left:
        os.close(left[-1])


def _inherited(address: tuple[str, int], left: list[Any] | None) -> socket.socket | None:
    """Return the listener that was left, if it is one on *address*; else it is closed."""
    if left is None or tuple(left[:-1]) != address:
        close_inherited(left)
        return None
    return socket.socket(fileno=left[-1])


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _bind(sock, host, port)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        taken = error.errno == errno.EADDRINUSE
        hint = "ss -ltnp shows the program that has it; choose another port" if taken else ""
        raise SetupError(f"listen on {host} port {port}", str(error.strerror), hint) from error
    return sock


def _bind(sock: socket.socket, host: str, port: int) -> None:
    """Bind *sock*, and log it if this host has not got the address yet."""
    try:
        sock.bind((host, port))
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:
            raise
        may_be_absent(sock)
        sock.bind((host, port))
        log.warning("no metrics at %s until this host has that address", host)


async def _serve(
    sock: socket.socket,
    pages: Pages,
    channel: ProcessChannel,
    visits: Visits,
    report: LatestReport | None,
) -> None:
    """Answer until the supervisor says "stop", its only word, or is gone."""
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    server = await asyncio.start_server(partial(_meet, pages, visits), sock=sock, limit=LONGEST)
    child = Child(loop, channel, {}, gone.set, {TOPIC: report.apply} if report else {})
    channel.send(Ready())
    await gone.wait()
    child.close()
    server.close()


async def _meet(
    pages: Pages,
    visits: Visits,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Answer one request of a client's."""
    place = visits.enter(writer.transport, asyncio.get_running_loop().time())
    if place is None:
        writer.transport.abort()
        return
    try:
        async with asyncio.timeout(PATIENCE):
            await _answer(pages, reader, writer)
    except (OSError, EOFError, TimeoutError):
        pass
    finally:
        writer.transport.abort()
        visits.leave(place)


async def _answer(pages: Pages, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer, and return when the client has hung up.

    What it has still to say is read: a socket that is closed with octets unread is reset by the
    kernel, and the reset takes back the answer.
    """
    try:
        answer = await pages.answer(await reader.readuntil(b"\r\n\r\n"))
    except asyncio.LimitOverrunError:
        too_large = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        answer = _plain(too_large, f"at most {LONGEST} octets").message(head_only=False)
    writer.write(answer)
    writer.write_eof()
    while await reader.read(LONGEST):
        pass

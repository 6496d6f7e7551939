"""The admin listener: the page, ``/status.json``, ``/metrics`` and health over HTTP.

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
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from faith.daemon.config.listener_access import EVERYBODY
from faith.daemon.process.child import Child
from faith.daemon.process.messages import Ready, WantReport
from faith.daemon.process.preamble import confine_child
from faith.daemon.process.worker_pool import WorkerPool
from faith.daemon.services import page_files
from faith.daemon.services.admin_pages import Pages, plain
from faith.daemon.services.latest_report import TOPIC, LatestReport, ReportSource
from faith.daemon.services.rolling_restart import ProcessGroup
from faith.errors import SetupError
from faith.kernel.descriptor import Descriptor
from faith.kernel.sockets.tcp_sockets import may_be_absent
from faith.translation.address import number6
from faith.translation.shares import CLIENT_LENGTH, Shares, client

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from faith.daemon.config.listener_access import AdminAccess
    from faith.daemon.observe.health import Health
    from faith.daemon.observe.process_slots import ProcessSlots
    from faith.daemon.process.loop import Loop
    from faith.daemon.process.messages import ProcessChannel, Report
    from faith.daemon.process.peer import Worker
    from faith.daemon.process.reception import Handler
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
GRACE = 1.0
"""Seconds that clients have for their answers when another process takes over."""
_TURNS = 4
"""Turns of the loop after which asyncio has told of each connection that it has accepted."""

log = logging.getLogger("faith.admin")


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
    ``/status.json`` and the page; *access* says who may read.  Raises SetupError.
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
        access: AdminAccess = EVERYBODY,
    ) -> None:
        self._length = length
        self._access = access
        self._files = page_files.read() if report else {}
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

    def copies(self, address: tuple[str, int]) -> list[socket.socket]:
        """Return a duplicate of the listener if it is one on *address*."""
        return [self._sock.dup()] if address == self._address else []

    def release(self) -> None:
        """Close the listener, in this process."""
        self._sock.close()

    # -- in its process ----------------------------------------------------------------------

    def _work(self, number: int, channel: ProcessChannel) -> None:
        # What it imports is for this process only; the next user may not be able to read it.
        from faith.daemon.observe.exposition import Exposition

        self._leave([channel, self._sock])
        context = self._access.tls.context() if self._access.tls else None
        confine_child(self._user, connects=False)
        report = LatestReport(channel) if self._source else None
        pages = Pages(Exposition(self._slots), self._life, report, self._files, self._access)
        serve = _serve(self._sock, pages, channel, Visits(self._length), report, context)
        asyncio.run(serve)


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
    report: LatestReport | None = None,
    context: ssl.SSLContext | None = None,
) -> None:
    """Answer until the supervisor says "stop", its only word, or is gone.

    Who has been accepted by then still gets an answer: the connection is no other process's.
    """
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    visitors: set[asyncio.Task[None]] = set()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = loop.create_task(_meet(pages, visits, context, reader, writer))
        visitors.add(task)
        task.add_done_callback(visitors.discard)

    server = await asyncio.start_server(begin, sock=sock, limit=LONGEST)
    child = Child(loop, channel, {}, gone.set, {TOPIC: report.apply} if report else {})
    channel.send(Ready())
    await gone.wait()
    child.close()
    server.close()
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    if visitors:
        await asyncio.wait(visitors, timeout=GRACE)


async def _meet(
    pages: Pages,
    visits: Visits,
    context: ssl.SSLContext | None,
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
            if context:  # nothing is awaited before: the client's first octets are TLS's
                await writer.start_tls(context)
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
    certified = bool(writer.get_extra_info("peercert"))
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        answer = await pages.answer(head, certified=certified)
    except asyncio.LimitOverrunError:
        too_large = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        answer = plain(too_large, f"at most {LONGEST} octets").message(head_only=False)
    writer.write(answer)
    if writer.can_write_eof():
        writer.write_eof()
        while await reader.read(LONGEST):
            pass
    else:  # TLS says the end by itself, reads on, and waits for the client's
        writer.close()
        await writer.wait_closed()

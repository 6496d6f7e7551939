"""UDP to one server: questions on many ports, each of a few seconds (RFC 5452 §9.2).

Every question has an id and a port that were drawn at random, and no port is drawn again before all
others were.  A port of its own for each question would say the same to who has to guess both; but a
socket costs as much as the question.  What is given up: somebody who finds out which ports are open
may use that for LIFETIME seconds, for one question in SOCKETS.  Where questions are few there is no
difference: each gets a new socket as long as there are less than SOCKETS of that age.
"""

from __future__ import annotations

import asyncio
import select
import socket
from typing import TYPE_CHECKING

from faith.dns.request import Dice
from faith.dns.wire import HEADER, MESSAGE_LIMIT

if TYPE_CHECKING:
    from faith.dns.dns_timers import Timers
    from faith.dns.endpoint import Endpoint
    from faith.dns.request import Asking

SOCKETS = 256
"""Ports open at a time; what comes on top shares them."""
LIFETIME = 10.0
"""Seconds that a port is used."""
BATCH = 64
"""Replies read in a row, before clients have their turn."""


class Datagrams:
    """The sockets that lead to *endpoint*, in one epoll set, which the loop watches.

    *timers* end their lives.
    """

    def __init__(self, endpoint: Endpoint, timers: Timers) -> None:
        self._endpoint = endpoint
        self._timers = timers
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._dice = Dice()
        self._ports: dict[int, Port] = {}
        self._live: set[Port] = set()
        """The ports whose time is not over; on others replies may come yet."""
        self._fresh: list[Port] = []
        """Of these, those that may be drawn: all others were since they were."""
        self._buffer = bytearray(MESSAGE_LIMIT)
        self._view = memoryview(self._buffer)
        self._aging = False
        self._loop.add_reader(self._epoll.fileno(), self._readable)

    def is_own(self, host: str, port: int | None = None) -> bool:
        """Return whether one of the sockets is bound there, to any port for None."""
        names = (each.sock.getsockname() for each in self._ports.values())
        return any(name[0] == host and port in (None, name[1]) for name in names)

    def send(self, asking: Asking) -> None:
        """Send the request of *asking*, which gets the reply, or the error.

        Raises OSError when that cannot even be tried.
        """
        port = self._drawn()
        try:
            port.send(asking, self._dice)
        except OSError as error:
            # It may be about a question before this one, or about an interface that is no more.
            self._close(port)
            port.fail(error)
            self._opened().send(asking, self._dice)

    def _drawn(self) -> Port:
        """A port at random of those that were not drawn for longest, or a new one."""
        fresh = self._fresh
        if len(self._live) >= SOCKETS and not fresh:
            self._retire()
        if len(self._live) < SOCKETS:
            try:
                return self._opened()
            except OSError:
                if not self._live:
                    raise
        if not fresh:
            fresh += self._live
        at = self._dice.number() % len(fresh)
        fresh[at], fresh[-1] = fresh[-1], fresh[at]
        return fresh.pop()

    def _opened(self) -> Port:
        family, address = self._endpoint.address()
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            sock.connect(address)  # the kernel drops what others send
        except OSError:
            sock.close()
            raise
        port = Port(sock, self._loop.time() + LIFETIME)
        self._ports[sock.fileno()] = port
        self._live.add(port)
        self._epoll.register(sock, select.EPOLLIN)
        if not self._aging:
            self._aging = True
            self._timers.after(LIFETIME, self._aged)
        return port

    def _aged(self) -> None:
        self._retire()
        self._aging = bool(self._ports)
        if self._aging:
            self._timers.after(LIFETIME / 2, self._aged)

    def _retire(self) -> None:
        """Draw no port any more whose time is over, and close it when nobody waits there."""
        now = self._loop.time()
        for port in [port for port in self._ports.values() if port.ends <= now]:
            if port.asked:
                self._forget(port)
            else:
                self._close(port)

    def _forget(self, port: Port) -> None:
        if port in self._live:
            self._live.remove(port)
            if port in self._fresh:
                self._fresh.remove(port)

    def _close(self, port: Port) -> None:
        self._forget(port)
        if self._ports.pop(port.sock.fileno(), None):
            port.sock.close()

    def _readable(self) -> None:
        ports, buffer = self._ports, self._buffer
        for descriptor, _ in self._epoll.poll(0, BATCH):
            if port := ports.get(descriptor):
                try:
                    length = port.sock.recv_into(buffer)
                except BlockingIOError:
                    continue
                except OSError as error:
                    port.fail(error)
                    continue
                port.received(bytes(self._view[:length]))

    def close(self) -> None:
        """Close all sockets; nobody waits for anything any more."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        for port in self._ports.values():
            port.sock.close()
        self._ports.clear()
        self._live.clear()
        self._fresh.clear()


class Port:
    """A socket until *ends*, and who waits for a reply on it, by the ids."""

    __slots__ = ("asked", "ends", "sock")

    def __init__(self, sock: socket.socket, ends: float) -> None:
        self.sock = sock
        self.ends = ends
        self.asked: dict[int, Asking] = {}

    def send(self, asking: Asking, dice: Dice) -> None:
        """Send the request with an id that is not in use.  Raises OSError."""
        asked = self.asked
        id_ = dice.number()
        while id_ in asked:
            id_ = dice.number()
        self.sock.send(asking.request.message(id_))
        asked[id_] = asking
        asking.where, asking.id = self, id_

    def give_up(self, asking: Asking) -> None:
        """Wait no longer for the reply to *asking*."""
        del self.asked[asking.id]

    def received(self, reply: bytes) -> None:
        """Give *reply* to who waits for it; what answers nothing that was asked is dropped."""
        if len(reply) < HEADER.size:
            return
        id_ = reply[0] << 8 | reply[1]
        asking = self.asked.get(id_)
        if asking and asking.request.is_answered_by(reply):
            del self.asked[id_]
            asking.received(reply)

    def fail(self, error: OSError) -> None:
        """Tell everybody that waits of *error*."""
        waiting = list(self.asked.values())
        self.asked.clear()
        for asking in waiting:
            asking.failed(error)

"""The listeners of proxies: opened before anything depends on them, one for each worker."""

from __future__ import annotations

import _socket
import logging
import os
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from faith.kernel.descriptor import Descriptor
from faith.kernel.sockets import tcp_sockets
from faith.relay.proxy import passed_clients
from faith.relay.tcp.session_state import adopt
from faith.translation.address import family_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from faith.relay.proxy.proxy_settings import ProxySettings

    Groups = dict["Place", list[_socket.socket]]

log = logging.getLogger("faith.supervisor")


class Place(NamedTuple):
    """Where a proxy listens: the address "::" has connections of both families."""

    host: str
    port: int

    @classmethod
    def of(cls, proxy: ProxySettings) -> Place:
        """Return where *proxy* listens."""
        return cls(proxy.host, proxy.port)


class ProxyListeners:
    """The listeners of one daemon's proxies, a group for each place, for so many *workers*.

    Others are opened by `prepare`, and what is not needed any more is closed by `apply`: in between
    connections to either wait in the kernel.  *changed* is called when there are others.

    Those of proxies with TLS are for the processes that terminate it, which pass clients on to all
    workers by one channel.

    Listeners that were *given* are used in their places, and belong to this; all workers share one.
    They are copies of systemd's, and are not paused: what comes there waits.
    """

    def __init__(
        self,
        workers: int,
        changed: Callable[[], object] = lambda: None,
        given: Iterable[_socket.socket] = (),
    ) -> None:
        self._workers = workers
        self._changed = changed
        self._given = {Place(*one.getsockname()[:2]): one for one in given}
        self._secured: frozenset[Place] = frozenset()
        self._wanted_secured: frozenset[Place] = frozenset()
        self._channel: tuple[_socket.socket, _socket.socket] | None = None
        """Where workers receive clients, and where these are passed on."""
        self._groups: Groups = {}
        self._new: Groups = {}
        self._wanted: list[Place] = []
        self._leaving: Groups = {}
        self._paused: list[tuple[_socket.socket, tuple[str, int]]] = []

    def set_up(self, proxies: Iterable[ProxySettings], left: Any = None) -> None:
        """Listen for *proxies*; *left* is the `state` of the predecessor process, or None.

        Listeners of it that are not needed stay until `close_others`.  Raises SetupError.
        """
        for host, port, descriptors in left["places"] if left else ():
            self._groups[Place(host, port)] = [adopt(fd) for fd in descriptors]
        if left and left["channel"]:
            receiving, sending = left["channel"]
            self._channel = adopt(receiving), adopt(sending)
        self.prepare(proxies)
        self._commit()

    def prepare(self, proxies: Iterable[ProxySettings]) -> None:
        """Open the listeners that *proxies* need in addition.  Raises SetupError, and opens none.

        Commit with `apply`, or roll back with `drop`.
        """
        self.drop()
        wanted = [*proxies]
        self._wanted = [Place.of(proxy) for proxy in wanted]
        self._wanted_secured = frozenset(Place.of(proxy) for proxy in wanted if proxy.tls)
        ports = {place.port for place in self._groups}
        try:
            for place in self._wanted:
                if place in self._groups:
                    continue
                if place in self._given:
                    self._new[place] = [_copy(self._given[place])]
                else:
                    self._new[place] = tcp_sockets.listeners(
                        *place,
                        self._workers,
                        transparent=False,
                        joins=place.port in ports,
                        open_to_all=True,
                    )
        except BaseException:
            self.drop()
            raise

    def apply(self) -> None:
        """Listen for the proxies that were prepared only."""
        self._commit()
        self.close_others()

    def drop(self) -> None:
        """Discard what was prepared; a no-op when nothing was."""
        _close(self._new)
        self._wanted = [*self._groups]
        self._wanted_secured = self._secured

    def close_others(self) -> None:
        """Close the listeners that no proxy needs any more."""
        _close(self._leaving)

    def _commit(self) -> None:
        for place in self._new:
            if not _is_here(place.host):
                log.warning("no proxy at %s until this host has that address", place.host)
        held = self._groups | self._new
        self._groups = {place: held.pop(place) for place in self._wanted}
        self._leaving |= held
        self._new = {}
        self._secured = self._wanted_secured
        if self._secured and self._channel is None:
            self._channel = passed_clients.channel()
        self._changed()

    def of_worker(self, number: int) -> list[_socket.socket]:
        """Return the listeners of a worker: of each proxy at least one, which others may share.

        Those of proxies with TLS have one channel together.
        """
        found = self._share(number, secured=False)
        return [*found, self._channel[0]] if self._secured and self._channel else found

    def of_terminator(self, number: int) -> list[_socket.socket]:
        """Return the channel to the workers, and the listeners of a process that terminates TLS.

        Nothing where no proxy has TLS.
        """
        if not self._secured or self._channel is None:
            return []
        return [self._channel[1], *self._share(number, secured=True)]

    def _share(self, number: int, *, secured: bool) -> list[_socket.socket]:
        found: list[_socket.socket] = []
        for place, group in self._groups.items():
            if (place in self._secured) is not secured:
                continue
            if self._workers <= len(group):
                found += group[number :: self._workers]
            else:
                found.append(group[number % len(group)])
        return found

    def pause(self) -> None:
        """Have the kernel refuse new connections; a no-op the second time."""
        if not self._paused:
            self._paused = [
                (listener, place)
                for place, group in self._groups.items()
                if place not in self._given
                for listener in group
            ]
            for listener, _ in self._paused:
                tcp_sockets.pause(listener)

    def resume(self) -> None:
        """Accept again, after `pause`.

        Raises SetupError, and stays paused, when another program has taken a port.
        """
        try:
            for listener, place in self._paused:
                tcp_sockets.resume(listener, place)
        except BaseException:
            for listener, _ in self._paused:
                tcp_sockets.pause(listener)
            raise
        self._paused.clear()

    def state(self) -> dict[str, Any]:
        """Return the state that an upgrade passes to the successor process, fit for JSON."""
        places = [
            [*place, [Descriptor.of(listener) for listener in group]]
            for place, group in self._groups.items()
        ]
        channel = self._channel and [Descriptor.of(end) for end in self._channel]
        return {"places": places, "channel": channel}

    def close(self) -> None:
        """Close all listeners."""
        self.drop()
        self.close_others()
        _close(self._groups)
        for end in (*self._given.values(), *(self._channel or ())):
            end.close()
        self._channel = None


def _copy(given: _socket.socket) -> _socket.socket:
    """Return a copy of a listener that was made elsewhere, fit to be one of a proxy."""
    copy = _socket.socket(fileno=os.dup(given.fileno()))
    tcp_sockets.fit(copy)
    return copy


def _close(groups: Groups) -> None:
    for listener in chain(*groups.values()):
        listener.close()
    groups.clear()


def _is_here(host: str) -> bool:
    """Return whether this host has the address *host*."""
    probe = _socket.socket(family_of(host), _socket.SOCK_DGRAM)
    try:
        probe.bind((host, 0))
    except OSError:
        return False
    finally:
        probe.close()
    return True

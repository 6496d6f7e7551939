"""The datagrams of one client of SOCKS5: UDP ASSOCIATE (RFC 1928 §7).

The client has a socket of the proxy's, and servers have another for each family.  A host that the
client has sent to may answer, from any port (RFC 4787 §5: address-dependent filtering).
"""

from __future__ import annotations

import errno
import socket
from base64 import b64decode, b64encode
from functools import partial
from typing import TYPE_CHECKING

from faith.kernel.sockets.association_sockets import socket_for_client
from faith.kernel.sockets.datagram_batch import endpoint_of, socket_name
from faith.proxy import socks_datagram
from faith.proxy.socks_datagram import BadDatagram, Fragment
from faith.relay.proxy.address_search import AddressSearch
from faith.relay.proxy.destinations import Destination, Destinations
from faith.translation.address import ANY
from faith.translation.reasons import (
    BAD_HEADER,
    CLIENT_FLOWS,
    FRAGMENT,
    NO_NAME,
    NOT_A_CLIENT,
    QUEUE,
    TOO_LARGE,
)

if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterator
    from typing import Any

    from faith.proxy.proxy_events import Target
    from faith.relay.proxy.destinations import Guard
    from faith.relay.proxy.proxy_means import ProxyMeans
    from faith.relay.tcp.session import Session

    Endpoint = tuple[str, int]

MOST_PATHS = 1024
"""Names and addresses of one client that are remembered."""
MOST_WAITING = 64
"""Datagrams of one client that may wait for the addresses of names."""
_UNFRAGMENTED = b"\0\0\0"
"""The octets of a header before its address."""
_NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH)


class Path:
    """The path of datagrams with one header, *key*, to a destination; a name's is looked for first.

    *candidates* are further addresses of the name, and *waiting* what is to be sent to the first.
    """

    __slots__ = ("candidates", "destination", "key", "search", "target", "waiting")

    def __init__(self, key: bytes, target: Target) -> None:
        self.key = key
        self.target = target
        self.candidates: list[str] = []
        self.destination: Destination | None = None
        self.search: AddressSearch | None = None
        self.waiting: list[bytes] = []

    @property
    def asked(self) -> Endpoint:
        """The host and port that the client asks for."""
        return self.target.host, self.target.port


class Association:
    """Relays the datagrams of the client of *session*, which sends to *sock*.

    *guard* is called with every step that an event leads to.
    """

    def __init__(
        self,
        means: ProxyMeans,
        session: Session,
        sock: _socket.socket,
        guard: Guard,
    ) -> None:
        self._means = means
        self._counters = means.counters
        self._table = means.associations
        self._session = session
        self._share = session.share
        self._scope = _scope(session)
        self._sock = sock
        host, port = sock.getsockname()[:2]
        self.bound: Endpoint = (host, port)
        """Where the client is to send to."""
        self._client: bytes | None = None
        self._paths: dict[bytes, Path] = {}
        self._waiting = 0
        self._guard = guard
        calls = self._answer, self._forget_all, guard
        self._destinations = Destinations(means, session, self.bound, *calls)
        self._table.enter(self._share)
        means.plane.watch(sock.fileno(), self._ready)

    def expect(self, announced: Target) -> None:
        """Know the client by the port that it has *announced*, unless that says nothing."""
        client = self._session.client_host
        if announced.port and announced.host in (*ANY.values(), client):
            self._meet((client, announced.port))

    def close(self, why: str) -> None:
        """End: all that the client has sent to ends as *why*."""
        for path in list(self._paths.values()):
            self._forget(path)
        self._destinations.close(why)
        self._means.plane.retire(self._sock)
        self._table.leave(self._share)

    # -- in another process ------------------------------------------------------------------

    def hand_over(self) -> tuple[dict[str, Any], list[int]]:
        """Let go of the sockets: what `resume` goes on from, fit for JSON, and their descriptors.

        Names that are being looked for will be looked for anew.
        """
        paths = [path for path in self._paths.values() if path.destination is not None]
        waiting = [
            [_text(path.key), _text(payload)]
            for path in self._paths.values()
            for payload in path.waiting
        ]
        state: dict[str, Any] = {
            "port": self._destinations.client_port,
            "waiting": waiting,
            "paths": [
                [_text(path.key), path.candidates, _text(path.destination.name)]
                for path in paths
                if path.destination is not None
            ],
        }
        for path in list(self._paths.values()):
            self._forget(path)
        self._means.plane.unwatch(self._sock.fileno())
        state["destinations"], descriptors = self._destinations.hand_over()
        self._table.leave(self._share)
        return state, [self._sock.detach(), *descriptors]

    def resume(self, state: dict[str, Any], descriptors: Iterator[int]) -> None:
        """Go on, just made, where the one stopped whose state it is."""
        if state["port"]:
            self._client = socket_name(self._session.client_host, state["port"], self._scope)
            self._destinations.client_port = state["port"]
        found = self._destinations.resume(state["destinations"], descriptors)
        for text, candidates, name in state["paths"]:
            key, destination = _octets(text), found.get(_octets(name))
            if destination is not None:
                path = self._paths[key] = Path(key, socks_datagram.target(_UNFRAGMENTED + key))
                path.candidates, path.destination = candidates, destination
                destination.paths.append(path)
        now = self._means.loop.time()
        for text, payload in state["waiting"]:
            self._forward(_UNFRAGMENTED + _octets(text), _octets(payload), now)

    # -- the client's socket -----------------------------------------------------------------

    def _meet(self, client: Endpoint) -> None:
        """Know the client by its port from now on; the kernel drops what others send."""
        host, port = client
        at = (host, port, 0, self._scope) if self._sock.family == socket.AF_INET6 else client
        try:
            self._sock.connect(at)
        except OSError:  # there is no way to it, and may be one in a moment
            return
        self._client = socket_name(host, port, self._scope)
        self._destinations.client_port = port

    def _is_client(self, name: bytes) -> bool:
        """Return whether a datagram is the client's; its first one says from which port."""
        if self._client is None:
            sender = endpoint_of(name)
            if sender[0] == self._session.client_host:
                self._meet(sender)
        return name == self._client

    def _ready(self, _: int) -> None:
        self._guard(self._read)

    def _read(self) -> None:
        now = self._means.loop.time()
        batch = self._table.batch(socket.AddressFamily(self._sock.family))
        for octets, name in batch.receive_from(self._sock.fileno()):
            if name != self._client and not self._is_client(name):
                self._counters.datagram_refused(NOT_A_CLIENT)
                continue
            try:
                end = socks_datagram.header_end(octets)
                self._forward(octets[:end], octets[end:], now)
            except Fragment:
                self._counters.datagram_refused(FRAGMENT)
            except BadDatagram:
                self._counters.datagram_refused(BAD_HEADER)

    def _answer(self, header: bytes, payload: bytes) -> bool:
        """Send the client what has come for it; return whether that was possible."""
        octets = header + payload
        try:
            try:
                self._sock.send(octets)
            except ConnectionRefusedError:  # about an earlier datagram
                self._sock.send(octets)
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                self._counters.datagram_refused(TOO_LARGE)
            else:
                self._counters.datagram_lost()
            return False
        size = len(payload)
        self._session.server.moved += size
        self._counters.datagram_to_client(size)
        return True

    # -- paths -------------------------------------------------------------------------------

    def _forward(self, header: bytes, payload: bytes, now: float) -> None:
        """Send *payload* to where *header* says.  Raises BadDatagram."""
        path = self._paths.get(header[3:])
        if path is None or not self._is_valid(path):
            path = self._path(header)
            if path is None:
                return
        if path.search is None:
            self._send(path, payload, now)
        elif self._waiting < MOST_WAITING:
            self._waiting += 1
            path.waiting.append(payload)
        else:
            self._counters.datagram_refused(QUEUE)

    def _is_valid(self, path: Path) -> bool:
        destination = path.destination
        return destination is None or self._destinations.still_permits(destination)

    def _path(self, header: bytes) -> Path | None:
        """Return a new path, whose addresses are looked for; None if there can be no more.

        Raises BadDatagram.
        """
        target = socks_datagram.target(header)
        path = Path(header[3:], target)
        if len(self._paths) >= MOST_PATHS:
            self._destinations.refuse(path.asked, CLIENT_FLOWS)
            return None
        self._paths[path.key] = path
        if target.is_address:
            path.candidates = [target.host]
        else:
            means, found = self._means, partial(self._answered, path)
            path.search = AddressSearch(means.loop, means.names, target.host, found, self._share)
        return path

    def _answered(self, path: Path, found: list[str] | str) -> None:
        self._guard(partial(self._found, path, found))

    def _found(self, path: Path, found: list[str] | str) -> None:
        """Send what waits for the addresses of the name of *path*."""
        path.search = None
        waiting, path.waiting = path.waiting, []
        self._waiting -= len(waiting)
        if isinstance(found, str):
            self._forget(path)
            for _ in waiting:
                self._destinations.refuse(path.asked, found)
            return
        path.candidates = found
        now = self._means.loop.time()
        for payload in waiting:
            self._send(path, payload, now)

    def _send(self, path: Path, payload: bytes, now: float) -> None:
        """Send *payload* to the destination of *path*, or else the next of its candidates."""
        destination = path.destination
        if destination is None or (destination.error and path.candidates):
            destination = self._next(path)
        while destination is not None:
            failed = self._destinations.send(destination, payload, now)
            if not failed:
                return
            if failed not in _NO_WAY or not path.candidates:
                self._destinations.lost(destination, failed)
                return
            destination = self._next(path)

    def _next(self, path: Path) -> Destination | None:
        """Have *path* lead to the first of its candidates that it may lead to.

        None if there is no such: then the datagram is refused, and the path forgotten.
        """
        why = NO_NAME
        while path.candidates:
            found = self._destinations.find(path.candidates.pop(0), path.asked)
            if isinstance(found, Destination):
                path.destination = found
                found.paths.append(path)
                return found
            why = found
        self._destinations.refuse(path.asked, why)
        self._forget(path)
        return None

    def _forget(self, path: Path) -> None:
        if self._paths.get(path.key) is path:
            del self._paths[path.key]
        self._waiting -= len(path.waiting)
        path.waiting.clear()
        if path.search is not None:
            path.search.cancel()
            path.search = None

    def _forget_all(self, destination: Destination) -> None:
        """Forget the paths to a destination that has ended."""
        for path in destination.paths:
            if path.destination is destination:
                self._forget(path)


def new_socket(session: Session) -> _socket.socket:
    """Return the socket for an `Association`: at the address that its client has come to.

    Raises OSError.
    """
    return socket_for_client(session.route.mapped, _scope(session))


def _text(octets: bytes) -> str:
    return b64encode(octets).decode()


def _octets(text: str) -> bytes:
    return b64decode(text)


def _scope(session: Session) -> int:
    """Return the interface index of a client that is on a link-local address, else 0."""
    sock = session.client.sock
    name = sock.getsockname() if sock.family == socket.AF_INET6 else ()
    return int(name[3]) if name and name[0].startswith("fe80:") else 0

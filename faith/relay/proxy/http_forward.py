"""The server's side of forwarded HTTP: requests to it, its answers, and bodies moved past both."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from faith.relay.proxy.body_splice import BodySplice
from faith.relay.proxy.stream_end import StreamEnd
from faith.relay.tcp.plane import ERR, HUP, IN, OUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from faith.proxy.http_proxy import HttpProxy
    from faith.proxy.proxy_events import Event
    from faith.relay.tcp.plane import Plane
    from faith.relay.tcp.session import Session

    Do = Callable[[Iterable[Event]], None]
    Guard = Callable[[Callable[[], object]], None]

_EDGE = 1 << 31  # EPOLLET: a HUP that cannot be acted on yet is then told only once


class HttpForward:
    """Serves the server of *session*, just connected, for *machine*, which has its *client*.

    *do* does what the machine says; *guard* is called with every step that an event leads to.
    """

    def __init__(
        self,
        plane: Plane,
        session: Session,
        client: StreamEnd,
        machine: HttpProxy,
        do: Do,
        guard: Guard,
    ) -> None:
        self._plane = plane
        self._session = session
        self._machine = machine
        self._do = do
        self._guard = guard
        self._client = client
        self._server = StreamEnd("server", session.server.sock)
        self._server.error = session.server.error
        self._up = BodySplice(plane.pipes, client, self._server)
        self._down = BodySplice(plane.pipes, self._server, client)
        self._counted = len(client.waiting)
        """Octets among those waiting for the client that are not this server's."""
        self._server.interest = IN
        plane.watch(self._server.fd, self._ready, IN)

    # -- the client's octets -----------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Return whether octets for the server wait, so that the client is not to be read."""
        return bool(self._server.waiting or self._up.piped)

    @property
    def owed(self) -> int:
        """Return how many octets for the client are on their way past the machine."""
        return self._down.piped

    def put(self, data: bytes) -> None:
        """Have *data* sent to the server."""
        self._server.put(data)

    def moves_from_client(self) -> bool:
        """Move some of a long body from the client; False if it has to be read."""
        return not self._server.error and self._up.fill(self._machine.client_body)

    # -- the server's ------------------------------------------------------------------------

    def _ready(self, mask: int) -> None:
        self._guard(partial(self._hear, mask))

    def _hear(self, mask: int) -> None:
        if mask & (ERR | HUP):
            self._server.look()
        if mask & ~OUT:
            if self._reads:
                self._read()
            else:
                self._server.is_early = True

    @property
    def _reads(self) -> bool:
        if self._server.at_end or self._client.waiting or self._down.piped:
            return False
        return self._machine.wants_server

    def _read(self) -> None:
        if not self._server.error and self._down.fill(self._machine.server_body):
            return
        data = self._server.read()
        if data is None:
            return
        if data:
            self._do(self._machine.from_server(data))
        else:
            self._do(self._machine.server_ended(self._server.end))

    # -- sending, and what to wait for -------------------------------------------------------

    def flush(self) -> None:
        """Send both peers what they take."""
        session, machine = self._session, self._machine
        session.client.moved += self._server.flush()
        self._count(self._client.flush())
        if moved := self._up.push():
            session.client.moved += moved
            self._do(machine.body_moved("client", moved))
        if moved := self._down.push():
            session.server.moved += moved
            self._do(machine.body_moved("server", moved))

    def _count(self, flushed: int) -> None:
        others = min(self._counted, flushed)
        self._counted -= others
        self._session.server.moved += flushed - others

    def count_all(self) -> None:
        """Count what waits for the client as received: the session ends before it can be."""
        self._count(len(self._client.waiting))

    def watch(self) -> None:
        """Wait for what can be done next."""
        server = self._server
        interest = (IN if self._reads else 0) | (OUT if self.is_full else 0) or _EDGE
        server.wait_for(self._plane, interest)

    # -- in another process ------------------------------------------------------------------

    def hand_over(self) -> tuple[dict[str, Any], list[int]]:
        """Leave the server; return what `resume` goes on from, and descriptors that go along."""
        self._plane.unwatch(self._server.fd)
        up, its = self._up.hand_over()
        down, others = self._down.hand_over()
        state = {"server": self._server.state(), "counted": self._counted, "piped": [up, down]}
        return state, its + others

    def resume(self, state: dict[str, Any], descriptors: Iterator[int]) -> None:
        """Go on, just made, where the one stopped whose state it is, with its descriptors."""
        self._server.restore(state["server"])
        self._counted = state["counted"]
        up, down = state["piped"]
        self._up.adopt(up, descriptors)
        self._down.adopt(down, descriptors)

    # -- ends --------------------------------------------------------------------------------

    def release(self) -> bytes:
        """Leave the server to somebody else; return what waits to be sent to it."""
        self._plane.unwatch(self._server.fd)
        self._up.release()
        self._down.release()
        return bytes(self._server.waiting)

    def leave(self, *, reset: bool = False) -> None:
        """Close the connection with the server, by a reset or a FIN."""
        self.release()
        self._plane.retire(self._server.sock, reset=reset)

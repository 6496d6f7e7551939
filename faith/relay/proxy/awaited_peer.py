"""One connection that a client of SOCKS waits for, as active FTP has it: BIND (RFC 1928 §4)."""

from __future__ import annotations

import errno
from functools import partial
from typing import TYPE_CHECKING

from faith.kernel.sockets.association_sockets import source_towards
from faith.kernel.sockets.tcp_sockets import stream_socket
from faith.relay.proxy.address_search import AddressSearch
from faith.relay.tcp.pinhole import BACKLOG, OPEN_FOR, Pinhole
from faith.relay.tcp.routing import Route
from faith.relay.tcp.session_state import adopt
from faith.translation.address import family_of, number6
from faith.translation.proxied_destination import ProxiedVerdict, admit_proxied
from faith.translation.reasons import NO_NAME, NO_SOURCE, NOT_EXPECTED, TIMEOUT, UNREACHABLE

if TYPE_CHECKING:
    import _socket
    from asyncio import Handle
    from collections.abc import Callable, Iterator
    from typing import Any

    from faith.proxy.proxy_events import Target
    from faith.relay.proxy.proxy_means import ProxyMeans
    from faith.relay.tcp.session import Session

    Endpoint = tuple[str, int]


class AwaitedPeer:
    """Lets in one connection from the host of *target*, which the client of *session* asks for.

    *listens* is called with the endpoint that the host has to connect to, and then *done*, once and
    after this was made: with the endpoint of the host as the client calls it, once the session has
    it as its server, or the reason why not.  Whoever else comes is reset, and counted.
    """

    def __init__(
        self,
        means: ProxyMeans,
        session: Session,
        target: Target,
        method: str,
        listens: Callable[[Endpoint], object],
        done: Callable[[Endpoint | str], object],
    ) -> None:
        session.method, session.asked = method, (target.host, target.port)
        self.target = target
        self._means = means
        self._session = session
        self._method = method
        self._listens = listens
        self._done = done
        self._is_over = False
        self.is_asking = False
        """The supervisor is asked, and has not answered yet."""
        self._pinhole: Pinhole | None = None
        self._where: tuple[str, ProxiedVerdict] | None = None
        """The address that is listened for, and the decision about it."""
        self._timer: Handle | None = None
        self._search: AddressSearch | None = None

    def start(self) -> None:
        """Listen for the host, as soon as its address is known."""
        target, means = self.target, self._means
        if target.is_address:
            self._timer = means.loop.call_soon(self._found, [target.host])
        else:
            its = target.host, self._found, self._session.share
            self._search = AddressSearch(means.loop, means.names, *its)

    def cancel(self) -> None:
        """Stop: nothing is called any more."""
        self._is_over = True
        if self._search is not None:
            self._search.cancel()
        if self._timer is not None:
            self._timer.cancel()
        if self._pinhole is not None:
            self._pinhole.abandon()

    # -- where the host has to connect to ----------------------------------------------------

    def _found(self, found: list[str] | str) -> None:
        """Listen for the first of the addresses that may connect."""
        self._search = None
        why = found if isinstance(found, str) else NO_NAME
        for address in () if isinstance(found, str) else found:
            client = number6(self._session.client_host)
            verdict = admit_proxied(self._means.policy(), client, address, self.target.port)
            if verdict.refused:
                why = verdict.refused
                continue
            source = verdict.source or source_towards(verdict.server)
            if source is not None:
                self._open(address, verdict, source)
                return
            why = UNREACHABLE
        self._end(why)

    def _open(self, address: str, verdict: ProxiedVerdict, source: str) -> None:
        means, family = self._means, family_of(source)
        if verdict.source is not None and means.take_transparent is not None:
            # What comes to it is steered: no other socket would get it.
            self.is_asking = True
            means.take_transparent(family, partial(self._listen, address, verdict, source))
            return
        try:
            sock = stream_socket(family)
        except OSError as error:
            self._end(means.why(error))
        else:
            self._listen(address, verdict, source, sock)

    def _listen(
        self, address: str, verdict: ProxiedVerdict, source: str, sock: _socket.socket | None
    ) -> None:
        self.is_asking = False
        if sock is None:
            self._end(f"{NO_SOURCE}: no transparent socket")
            return
        if self._is_over:
            sock.close()
            return
        try:
            sock.bind((source, 0))
            sock.listen(BACKLOG)
        except OSError as error:
            sock.close()
            is_absent = error.errno == errno.EADDRNOTAVAIL
            self._end(NO_SOURCE if is_absent else self._means.why(error))
            return
        host, port = sock.getsockname()[:2]
        self._expect(sock, address, verdict, self._means.loop.time() + OPEN_FOR)
        self._steer(sock, verdict, partial(self._tell, (host, port)))

    def _expect(
        self, sock: _socket.socket, address: str, verdict: ProxiedVerdict, until: float
    ) -> None:
        """Let in who comes to *sock*, before the loop's time is *until*."""
        loop = self._means.loop
        self._where = address, verdict
        self._pinhole = Pinhole(
            loop, self._means.plane, sock, verdict.server, self._came, self._stranger, until
        )
        self._timer = loop.call_at(until, self._end, TIMEOUT)

    def _steer(
        self, sock: _socket.socket, verdict: ProxiedVerdict, then: Callable[[], None]
    ) -> None:
        """Have the host reach *sock*, whatever steers what comes to its address."""
        ask = self._means.ask_for_pinhole
        if verdict.source is None or ask is None:
            then()
        else:
            self.is_asking = True
            ask(sock, verdict.server, then)

    def _tell(self, at: Endpoint) -> None:
        self.is_asking = False
        if not self._is_over:
            self._listens(at)

    # -- who comes ---------------------------------------------------------------------------

    def _came(self, sock: _socket.socket, port: int) -> None:
        session = self._session
        assert self._where is not None
        address, verdict = self._where
        self._pinhole = None
        self.cancel()
        route = Route(session.route.mapped, verdict.server, verdict.source, port=port)
        session.connect(sock, route, port)
        self._means.begun(session)
        self._done((address, port))

    def _stranger(self, host: str) -> None:
        self._means.counters.refused(NOT_EXPECTED)

    def _end(self, why: str) -> None:
        if not self._is_over:
            self.cancel()
            self._done(why)

    # -- in another process ------------------------------------------------------------------

    def hand_over(self) -> tuple[dict[str, Any], list[int]]:
        """Let go of the listener: what `resume` goes on from, fit for JSON, and its descriptor.

        A host whose address is not known yet is looked for anew.
        """
        target, pinhole, where = self.target, self._pinhole, self._where
        state: dict[str, Any] = {
            "target": [target.host, target.port, target.is_address],
            "method": self._method,
            "listens": None,
        }
        if pinhole is None or where is None:
            return state, []
        address, verdict = where
        state["listens"] = [*(address, verdict.server, verdict.port, verdict.source, pinhole.until)]
        self._pinhole = None
        return state, [pinhole.hand_over()]

    def resume(self, state: dict[str, Any], descriptors: Iterator[int]) -> None:
        """Go on, in place of `start`, where the one stopped whose state it is."""
        if state["listens"] is None:
            self.start()
            return
        address, server, port, source, until = state["listens"]
        verdict = ProxiedVerdict(None, server, port, source)
        sock = adopt(next(descriptors))
        self._expect(sock, address, verdict, until)
        self._steer(sock, verdict, self._steered)

    def _steered(self) -> None:
        self.is_asking = False

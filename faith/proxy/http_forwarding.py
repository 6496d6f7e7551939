"""Forwarding of one request at a time, and of the answer to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from faith.proxy import http_exchange, http_head
from faith.proxy.http_connection import Stage
from faith.proxy.http_head import BadMessage
from faith.proxy.proxy_events import HTTP, ToClient, ToServer
from faith.translation import reasons

if TYPE_CHECKING:
    from faith.proxy.body_framing import Body, Chunked, KnownLength
    from faith.proxy.http_connection import HttpConnection
    from faith.proxy.http_exchange import Exchange
    from faith.proxy.http_head import Request, Response
    from faith.proxy.request_target import Asked

SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))
"""Methods of requests that may go by a connection that the server may have closed meanwhile."""


class HttpForwarding:
    """Forwards the requests on *connection*, one after the other."""

    def __init__(self, connection: HttpConnection) -> None:
        self._connection = connection
        self._exchange: Exchange | None = None

    def state(self) -> dict[str, Any] | None:
        """Return the state for `restore`, fit for JSON; None while nothing is forwarded."""
        is_over = self._connection.stage is Stage.OVER
        return None if self._exchange is None or is_over else self._exchange.state()

    def restore(self, state: dict[str, Any] | None) -> None:
        """Go on, just made, where the one stopped whose `state` it is."""
        self._exchange = http_exchange.restored(state) if state else None

    # -- a request -------------------------------------------------------------------------------

    def begin(
        self, request: Request, asked: Asked, body: KnownLength | Chunked, hops: int | None
    ) -> None:
        """Forward a *request* with that *body*; *hops* is the Max-Forwards that it has."""
        connection = self._connection
        exchange = http_exchange.begun(request, asked, body, hops, connection.rules.pseudonym)
        is_old = connection.server.at == exchange.target
        exchange.again = is_old and body.over and request.method in SAFE
        self._exchange = exchange
        if exchange.again:
            self._send(exchange)
        else:
            connection.leave_server(reasons.CLOSED)
            connection.dial(exchange.target, HTTP)

    def connected(self) -> None:
        """Send the request: its server has answered."""
        assert self._exchange
        self._connection.server.at = self._exchange.target
        self._send(self._exchange)

    def _send(self, exchange: Exchange) -> None:
        self._connection.stage = Stage.EXCHANGE
        self._connection.emit(ToServer(exchange.head))

    # -- step by step ----------------------------------------------------------------------------

    @property
    def wants_client(self) -> bool:
        """Return whether some of the request is to come."""
        assert self._exchange
        return not self._exchange.is_whole

    @property
    def client_body(self) -> int:
        """Return how many octets of the client's may be moved to the server, past the buffer."""
        assert self._exchange
        return 0 if self._connection.client else self._exchange.body.movable

    @property
    def server_body(self) -> int:
        """Return how many octets of the server's may be moved to the client, past the buffer."""
        assert self._exchange
        answer = self._exchange.answer
        return 0 if answer is None or self._connection.server.octets else answer.movable

    def moved(self, side: str, count: int) -> None:
        """Count octets of a body that were moved; *side* is "client" or "server"."""
        assert self._exchange
        body: Body | None = self._exchange.body if side == "client" else self._exchange.answer
        assert body
        body.moved(count)

    def step(self) -> bool:
        """Pass on some of what has come, and return whether there may be more to look at."""
        exchange = self._exchange
        assert exchange
        if exchange.is_answered:
            return self._finish(exchange)
        return self._take_body(exchange) or self._take_answer(exchange)

    def _take_body(self, exchange: Exchange) -> bool:
        """Pass on what has come of the request; return whether it was anything."""
        if exchange.is_whole:
            return False
        connection = self._connection
        before = len(connection.client)
        try:
            octets = exchange.body.feed(connection.client)
        except BadMessage as error:
            self._refuse(exchange, error)
            return True
        if octets:
            connection.emit(ToServer(octets))
        if connection.client_over and not exchange.is_whole:
            connection.hang_up(reasons.CLOSED)
            return True
        return len(connection.client) < before

    def _take_answer(self, exchange: Exchange) -> bool:
        """Pass on what has come of the answer; return whether there may be more to look at."""
        connection, server = self._connection, self._connection.server
        try:
            if exchange.answer is None:
                head = server.take_head()
                if head is not None:
                    self._respond(exchange, http_head.response(head))
                elif server.over is not None:
                    self.failed(server.over)
                return head is not None or connection.stage is Stage.HEAD
            octets = exchange.answer.feed(server.octets)
        except BadMessage:
            self.failed(reasons.OUT_OF_STEP)
            return True
        if octets:
            connection.emit(ToClient(octets))
            return True
        if exchange.is_answered:
            return True
        if server.over is not None:
            self._answer_ended(exchange, server.over)
        return False

    def _respond(self, exchange: Exchange, response: Response) -> None:
        """Pass on the head of *response*.  Raises BadMessage for one that is no answer."""
        connection, pseudonym = self._connection, self._connection.rules.pseudonym
        if response.status >= 200:
            connection.own_answers = 0
            date = connection.date_field()
            connection.emit(ToClient(exchange.answered(response, pseudonym, date)))
        elif head := exchange.interim_head(response, pseudonym):
            connection.emit(ToClient(head))
            if response.status == 101:
                connection.tunnel()

    # -- ends ------------------------------------------------------------------------------------

    def _finish(self, exchange: Exchange) -> bool:
        """Go on after an answer that is whole; return whether there is more to look at."""
        connection, server = self._connection, self._connection.server
        server_left = exchange.closes or server.over is not None
        if server.octets and not exchange.is_whole:  # that is no part of any answer
            connection.hang_up(reasons.OUT_OF_STEP)
            return False
        if exchange.leaves or (server_left and not exchange.is_whole):
            connection.hang_up(server.over or reasons.CLOSED)
            return False
        if not exchange.is_whole:
            return self._take_body(exchange)
        self._leave_exchange()
        if server_left:
            connection.leave_server(server.over or reasons.CLOSED)
        return True

    def failed(self, why: str) -> None:
        """Go on without the server, which was not reached, or lost: ask another time, or say so."""
        exchange, connection = self._exchange, self._connection
        assert exchange
        if exchange.answer is not None:
            self._answer_ended(exchange, why)
            return
        asks_again = exchange.again and not connection.server.octets and why != reasons.OUT_OF_STEP
        connection.leave_server(why)
        if asks_again:
            exchange.again = False
            connection.dial(exchange.target, HTTP)
            return
        self._leave_exchange()
        leaves, has_body = exchange.leaves or not exchange.is_whole, not exchange.asks_head
        connection.say_failed(why, exchange.target, leaves=leaves, has_body=has_body)

    def _leave_exchange(self) -> None:
        self._exchange = None
        self._connection.stage = Stage.HEAD

    def _answer_ended(self, exchange: Exchange, why: str) -> None:
        """Hang up: the server ended when its answer had begun."""
        self._connection.hang_up(why, cut=exchange.is_cut_by(why))

    def _refuse(self, exchange: Exchange, error: BadMessage) -> None:
        """Refuse a request whose body cannot be read on."""
        if exchange.answer is None:
            self._connection.leave_server(reasons.BAD_REQUEST)
            self._connection.refuse(error)
        else:
            self._connection.hang_up(reasons.BAD_REQUEST, cut=exchange.ends_by_close)

"""A client of HTTP: CONNECT, and requests that are forwarded (RFC 9110, RFC 9112)."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from faith.proxy import (
    body_framing,
    forwarded_heads,
    http_exchange,
    http_head,
    own_answers,
    request_target,
    via,
)
from faith.proxy.basic_credentials import basic
from faith.proxy.body_framing import UntilClose
from faith.proxy.http_exchange import Exchange
from faith.proxy.http_head import BadMessage, HeadReader, Request, Response
from faith.proxy.proxy_events import (
    CONNECT,
    HTTP,
    CheckUser,
    Dial,
    Event,
    HangUp,
    LeaveServer,
    Refused,
    Target,
    ToClient,
    ToServer,
    Tunnel,
)
from faith.proxy.request_target import Asked
from faith.translation import reasons

if TYPE_CHECKING:
    from faith.proxy.body_framing import Chunked, KnownLength
    from faith.proxy.http_head import Field
    from faith.proxy.proxy_rules import ProxyRules

SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE"))
"""Methods of requests that may go by a connection that the server may have closed meanwhile."""
INTERIM = 64
"""Responses of status 1xx that an answer may begin with."""
OWN_ANSWERS = 32
"""Answers of the proxy's own in a row, after which it closes the connection."""
PRIVILEGED = 1024
"""Ports below it are reached by HTTP only if the rules say so, or it is that of HTTP."""

_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Stage(Enum):
    """Stages of a client's connection, by what is waited for."""

    HEAD = auto()
    """The head of a request."""
    USER = auto()
    """The answer to CheckUser."""
    SERVER = auto()
    """The answer to Dial."""
    EXCHANGE = auto()
    """The rest of a request, and the answer to it."""
    OVER = auto()
    """Nothing any more: whatever comes is dropped."""


class HttpProxy:
    """One client of HTTP: :mod:`faith.proxy` tells how to drive it."""

    def __init__(self, rules: ProxyRules) -> None:
        self.rules = rules
        """Other rules may take their place at any time: they are for the next request."""
        self.date: bytes | None = None
        """The date of what comes next, for answers that have none; None if nobody knows it."""
        self._stage = Stage.HEAD
        self._client = bytearray()
        self._server = bytearray()
        self._client_head = HeadReader(of_requests=True)
        self._server_head = HeadReader(of_requests=False)
        self._client_over = False
        self._server_over: str | None = None
        self._at: Target | None = None  # the server that there is a connection with
        self._exchange: Exchange | None = None
        self._pending: tuple[Request, Asked, KnownLength | Chunked] | None = None
        self._connect: tuple[Target, bool] | None = None  # of CONNECT; whether the client leaves
        self._own_answers = 0
        self._events: list[Event] = []

    # -- the face of it --------------------------------------------------------------------------

    @property
    def wants_client(self) -> bool:
        """Return whether to read the client; data fed while it is false is kept, without bound."""
        if self._stage is Stage.EXCHANGE:
            assert self._exchange
            return not self._exchange.is_whole
        return self._stage is Stage.HEAD

    @property
    def wants_server(self) -> bool:
        """Return whether to read the server, be it for its end alone."""
        if self._at is None:
            return False
        # While a user is checked, what nobody asked for waits: there would be no bound to it.
        return self._stage is not Stage.USER or not self._server

    @property
    def awaits_request(self) -> bool:
        """Return whether it is the client's turn to ask for something."""
        return self._stage is Stage.HEAD

    @property
    def is_idle(self) -> bool:
        """Return whether nothing of another request has come since the last answer."""
        return self._stage is Stage.HEAD and not self._client

    @property
    def client_body(self) -> int:
        """Return how many octets of the client's may be moved to the server past the machine."""
        if self._stage is not Stage.EXCHANGE or self._client:
            return 0
        assert self._exchange
        return self._exchange.body.movable

    @property
    def server_body(self) -> int:
        """Return how many octets of the server's may be moved to the client past the machine."""
        if self._exchange is None or self._exchange.answer is None or self._server:
            return 0
        return self._exchange.answer.movable

    def from_client(self, data: bytes) -> list[Event]:
        """Return the events for *data* from the client."""
        if self._stage is not Stage.OVER:
            self._client += data
        return self._run()

    def from_server(self, data: bytes) -> list[Event]:
        """Return the events for *data* from the server; without one it is dropped."""
        if self._at is not None:
            self._server += data
        return self._run()

    def client_ended(self, why: str = reasons.CLOSED) -> list[Event]:
        """Return the events for the client's end, *why* if not by a FIN.

        After a FIN what it asked for is still answered.
        """
        if self._stage is Stage.OVER:
            return []
        self._client_over = True
        if why != reasons.CLOSED:
            self._hang_up(why)
        return self._run()

    def server_ended(self, why: str = reasons.CLOSED) -> list[Event]:
        """Return the events for the server's end, *why* if not by a FIN."""
        if self._at is not None and self._server_over is None:
            self._server_over = why
        return self._run()

    def body_moved(self, side: str, count: int) -> list[Event]:
        """Return the events for *count* octets of that *side* moved past the machine.

        *side* is "client" or "server"; *count* is at most what its body said last.
        """
        assert self._exchange
        body = self._exchange.body if side == "client" else self._exchange.answer
        assert body
        body.moved(count)
        return self._run()

    def user_checked(self, good: bool | None) -> list[Event]:
        """Return the events for the answer to CheckUser: None is a user that was not looked at."""
        assert self._pending
        pending, self._pending = self._pending, None
        request, asked, body = pending
        self._stage = Stage.HEAD
        self._look_at_server()
        if good:
            self._admit(request, asked, body)
        else:
            self._emit(Refused(asked.server, reasons.WRONG_PASSWORD, _method(request)))
            self._own(request, body, own_answers.wrong_password(good), why=reasons.WRONG_PASSWORD)
        return self._run()

    def connected(self, bound: tuple[str, int]) -> list[Event]:
        """Return the events for the server that was dialled and has answered."""
        if self._connect is not None:
            self._emit(ToClient(_ESTABLISHED))
            self._tunnel()
        else:
            assert self._exchange
            self._at = self._exchange.target
            self._stage = Stage.EXCHANGE
            self._emit(ToServer(self._exchange.head))
        return self._run()

    def failed(self, why: str) -> list[Event]:
        """Return the events for a Dial that came to nothing, or a server that was left, as *why*
        says.

        *why* is of :mod:`faith.translation.reasons`; details may follow a colon.
        """
        if self._connect is not None:
            (target, leaves), self._connect = self._connect, None
            self._stage = Stage.HEAD
            self._answer_failure(why, target, is_whole=True, leaves=leaves, has_body=True)
        elif self._exchange is not None:
            self._lose(why)
        return self._run()

    def overdue(self) -> list[Event]:
        """Return the events for a client that has not asked in time."""
        if self.is_idle:
            self._hang_up(reasons.CLOSED)
        elif self._stage is Stage.HEAD:
            self._emit(Refused(None, reasons.GREETING))
            self._say(own_answers.OVERDUE, leaves=True, has_body=True, why=reasons.GREETING)
        return self._run()

    def state(self) -> dict[str, Any]:
        """Return the state for :meth:`restore`, fit for JSON; there is none between CheckUser and
        the answer."""
        assert self._stage is not Stage.USER
        return {
            "stage": self._stage.name,
            "client": self._client.decode("latin-1"),
            "server": self._server.decode("latin-1"),
            "client_over": self._client_over,
            "server_over": self._server_over,
            "at": self._at and _told(self._at),
            "exchange": self._exchange and self._exchange.state(),
            "connect": self._connect and [_told(self._connect[0]), self._connect[1]],
            "own_answers": self._own_answers,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on, just made by the same rules, where the one stopped whose :meth:`state` it is.

        No password is in the state: the user is checked with every request.
        """
        self._stage = Stage[state["stage"]]
        self._client += state["client"].encode("latin-1")
        self._server += state["server"].encode("latin-1")
        self._client_over = state["client_over"]
        self._server_over = state["server_over"]
        self._at = Target(*state["at"]) if state["at"] else None
        if state["connect"]:
            target, leaves = state["connect"]
            self._connect = Target(*target), leaves
        exchange = state["exchange"]
        self._exchange = http_exchange.restored(exchange) if exchange else None
        self._own_answers = state["own_answers"]

    # -- step by step ----------------------------------------------------------------------------

    def _run(self) -> list[Event]:
        while self._step():
            pass
        events, self._events = self._events, []
        return events

    def _step(self) -> bool:
        """Look at what is next, and return whether there may be more to look at."""
        if self._stage is Stage.HEAD:
            return self._between()
        if self._stage is Stage.EXCHANGE:
            assert self._exchange
            if self._exchange.is_answered:
                return self._finish(self._exchange)
            return self._take_body(self._exchange) or self._take_answer(self._exchange)
        return False

    def _between(self) -> bool:
        """Look at a server that nothing was asked of, and for the next request."""
        self._look_at_server()
        try:
            head = self._client_head.take(self._client)
            if head is not None:
                self._read(http_head.request(head))
            elif self._client_over:
                self._hang_up(reasons.CLOSED)
        except BadMessage as error:
            self._refuse_message(error)
            return False
        return head is not None

    def _look_at_server(self) -> None:
        """Leave a server that has ended, or has said something, before another request of it."""
        if self._server:
            self._leave(reasons.OUT_OF_STEP)  # that would be taken for the next answer
        elif self._server_over is not None:
            self._leave(self._server_over)

    def _take_body(self, exchange: Exchange) -> bool:
        """Pass on what has come of the request; return whether it was anything."""
        if exchange.is_whole:
            return False
        before = len(self._client)
        try:
            octets = exchange.body.feed(self._client)
        except BadMessage as error:
            self._bad_body(exchange, error)
            return True
        if octets:
            self._emit(ToServer(octets))
        if self._client_over and not exchange.is_whole:
            self._hang_up(reasons.CLOSED)
            return True
        return len(self._client) < before

    def _take_answer(self, exchange: Exchange) -> bool:
        """Pass on what has come of the answer; return whether there may be more to look at."""
        try:
            if exchange.answer is None:
                head = self._server_head.take(self._server)
                if head is not None:
                    self._respond(exchange, http_head.response(head))
                elif self._server_over is not None:
                    self._lose(self._server_over)
                return head is not None or self._stage is Stage.HEAD
            octets = exchange.answer.feed(self._server)
        except BadMessage:
            self._lose(reasons.OUT_OF_STEP)
            return True
        if octets:
            self._emit(ToClient(octets))
            return True
        if exchange.is_answered:
            return True
        if self._server_over is not None:
            self._answer_ended(exchange, self._server_over)
        return False

    # -- a request -------------------------------------------------------------------------------

    def _read(self, request: Request) -> None:
        """Look at a *request*, of which the body is to come."""
        asked = self._asked(request)
        body = body_framing.of_request(request.fields, request.minor)
        own_answers.max_forwards(request)
        if request.method in (b"CONNECT", b"TRACE") and not body.over:
            raise BadMessage(f"{request.method.decode()} has no content (RFC 9110 section 9.3)")
        if asked.server is None:
            self._own(request, body, own_answers.resource(request, asked.path, self.rules))
            return
        credentials = _credentials(request)
        if not self.rules.needs_user:
            self._admit(request, asked, body)
        elif credentials is None or (user := basic(credentials)) is None:
            self._own(request, body, own_answers.password_needed())
        else:
            self._pending = request, asked, body
            self._stage = Stage.USER
            self._emit(CheckUser(*user))

    def _asked(self, request: Request) -> Asked:
        asked = request_target.asked(request)
        server = asked.server
        if server and request.method != b"CONNECT" and (server.host, server.port) in self.rules.own:
            return Asked(None, asked.path)
        return asked

    def _admit(self, request: Request, asked: Asked, body: KnownLength | Chunked) -> None:
        """Do what a *request* of a user who may asks for, or say what is against it."""
        assert asked.server
        hops = own_answers.max_forwards(request)
        refusal = self._refusal(request, asked.server)
        if refusal is not None:
            why, text = refusal
            self._emit(Refused(asked.server, why, _method(request)))
            answer = own_answers.failed(why, text, self.rules.pseudonym)
            self._own(request, body, answer, why=why)
        elif hops == 0:
            self._own(request, body, own_answers.last_hop(request))
        elif request.method == b"CONNECT":
            self._leave(reasons.CLOSED)
            self._connect = asked.server, own_answers.leaves(request)
            self._dial(asked.server, CONNECT)
        else:
            self._forward(request, asked, body, None if hops is None else hops - 1)

    def _refusal(self, request: Request, server: Target) -> tuple[str, str] | None:
        """Return the reason and the text that are against a *request* for *server*."""
        is_connect = request.method == b"CONNECT"
        if _method(request) not in self.rules.methods:
            name = "CONNECT" if is_connect else "forwarding of HTTP"
            return reasons.NO_METHOD, f"this proxy does without {name}"
        if not self._is_open(server.port, is_connect):
            return reasons.PORT_CLOSED, f"port {server.port} may not be reached by this proxy"
        if via.has(request.fields, self.rules.pseudonym):
            return reasons.PROXY_LOOP, "the request has come by this proxy already, as Via says"
        return None

    def _is_open(self, port: int, is_connect: bool) -> bool:
        if port in self.rules.connect_ports:
            return True
        return not is_connect and (port >= PRIVILEGED or port == request_target.HTTP_PORT)

    def _forward(
        self, request: Request, asked: Asked, body: KnownLength | Chunked, hops: int | None
    ) -> None:
        assert asked.server
        exchange = Exchange(
            target=asked.server,
            head=forwarded_heads.request_head(
                request,
                asked,
                self.rules.pseudonym,
                chunked=forwarded_heads.is_chunked(body),
                max_forwards=hops,
            ),
            body=body,
            minor=request.minor,
            asks_head=request.method == b"HEAD",
            upgrades=body.over and forwarded_heads.upgrades(request),
            leaves=own_answers.leaves(request),
        )
        self._exchange = exchange
        exchange.again = self._at == asked.server and body.over and request.method in SAFE
        if exchange.again:
            self._stage = Stage.EXCHANGE
            self._emit(ToServer(exchange.head))
        else:
            self._leave(reasons.CLOSED)
            self._dial(asked.server, HTTP)

    def _dial(self, target: Target, method: str) -> None:
        self._stage = Stage.SERVER
        self._emit(Dial(target, method))

    # -- an answer -------------------------------------------------------------------------------

    def _respond(self, exchange: Exchange, response: Response) -> None:
        """Pass on the head of *response*."""
        if response.status == 407:
            raise BadMessage("a server has no proxy's password to ask for")
        if response.status < 200:
            self._interim(exchange, response)
            return
        is_empty = exchange.asks_head or response.status in (204, 304)
        bare = exchange.minor == 0
        answer = body_framing.of_response(
            response.fields, response.minor, is_empty=is_empty, bare=bare
        )
        exchange.again = False
        exchange.answer = answer
        exchange.closes = own_answers.leaves(response) or isinstance(answer, UntilClose)
        exchange.ends_by_close = not is_empty and (bare or isinstance(answer, UntilClose))
        exchange.leaves = exchange.leaves or exchange.ends_by_close
        self._own_answers = 0
        chunked = forwarded_heads.is_chunked(answer)
        if not any(name.lower() == b"date" for name, _ in response.fields):
            response = response._replace(fields=response.fields + self._date())
        self._emit(
            ToClient(
                forwarded_heads.response_head(
                    response, self.rules.pseudonym, chunked=chunked, closes=exchange.leaves
                )
            )
        )

    def _interim(self, exchange: Exchange, response: Response) -> None:
        exchange.interim += 1
        exchange.again = False
        switches = response.status == 101
        if exchange.interim > INTERIM or (switches and not exchange.upgrades):
            raise BadMessage("an interim response that nobody asked for")
        if exchange.minor == 0:  # RFC 9110 §15.2
            return
        pseudonym = self.rules.pseudonym
        head = forwarded_heads.response_head(response, pseudonym, chunked=False, closes=False)
        self._emit(ToClient(head))
        if switches:
            self._tunnel()

    def _answer_ended(self, exchange: Exchange, why: str) -> None:
        """Look at a server that ended when its answer had begun."""
        is_whole = why == reasons.CLOSED and isinstance(exchange.answer, UntilClose)
        self._hang_up(why, cut=exchange.ends_by_close and not is_whole)

    def _finish(self, exchange: Exchange) -> bool:
        """Go on after an answer that is whole; return whether there is more to look at."""
        server_left = exchange.closes or self._server_over is not None
        if self._server and not exchange.is_whole:  # that is no part of any answer
            self._hang_up(reasons.OUT_OF_STEP)
            return False
        if exchange.leaves or (server_left and not exchange.is_whole):
            self._hang_up(self._server_over or reasons.CLOSED)
            return False
        if not exchange.is_whole:
            return self._take_body(exchange)
        self._exchange = None
        self._stage = Stage.HEAD
        if server_left:
            self._leave(self._server_over or reasons.CLOSED)
        return True

    def _lose(self, why: str) -> None:
        """Go on without the server, which was not reached, or lost: ask another time, or say so."""
        exchange = self._exchange
        assert exchange
        if exchange.answer is not None:
            self._answer_ended(exchange, why)
        elif exchange.again and not self._server and why != reasons.OUT_OF_STEP:
            exchange.again = False
            self._leave(why)
            self._dial(exchange.target, HTTP)
        else:
            self._leave(why)
            self._exchange = None
            self._stage = Stage.HEAD
            self._answer_failure(
                why,
                exchange.target,
                is_whole=exchange.is_whole,
                leaves=exchange.leaves,
                has_body=not exchange.asks_head,
            )

    # -- answers of the proxy's own --------------------------------------------------------------

    def _own(
        self,
        request: Request,
        body: KnownLength | Chunked,
        answer: own_answers.OwnAnswer,
        why: str = reasons.CLOSED,
    ) -> None:
        """Answer a *request*, whose *body* is not read."""
        leaves = own_answers.leaves(request) or not body.over
        self._say(answer, leaves=leaves, has_body=request.method != b"HEAD", why=why)

    def _answer_failure(
        self, why: str, target: Target, *, is_whole: bool, leaves: bool, has_body: bool
    ) -> None:
        answer = own_answers.failed(why, own_answers.told(why, target), self.rules.pseudonym)
        self._say(answer, leaves=leaves or not is_whole, has_body=has_body, why=why)

    def _refuse_message(self, error: BadMessage) -> None:
        self._emit(Refused(None, f"{reasons.BAD_REQUEST}: {error}"))
        answer = own_answers.bad_message(error, self.rules.pseudonym)
        self._say(answer, leaves=True, has_body=True, why=reasons.BAD_REQUEST)

    def _bad_body(self, exchange: Exchange, error: BadMessage) -> None:
        """Refuse a request whose body cannot be read on."""
        if exchange.answer is None:
            self._leave(reasons.BAD_REQUEST)
            self._refuse_message(error)
        else:
            self._hang_up(reasons.BAD_REQUEST, cut=exchange.ends_by_close)

    def _say(
        self, answer: own_answers.OwnAnswer, *, leaves: bool, has_body: bool, why: str
    ) -> None:
        self._own_answers += 1
        answer = replace(answer, fields=answer.fields + self._date())
        leaves = leaves or self._own_answers >= OWN_ANSWERS
        self._emit(ToClient(answer.message(closes=leaves, has_body=has_body)))
        if leaves:
            self._leave(reasons.CLOSED)  # of a server before, which has done nothing wrong
            self._hang_up(why)

    def _date(self) -> tuple[Field, ...]:
        """Return the field of an answer that has no Date (RFC 9110 §6.6.1)."""
        return () if self.date is None else ((b"Date", self.date),)

    # -- ends ------------------------------------------------------------------------------------

    def _leave(self, why: str) -> None:
        """Have the session with the server ended, if there is one."""
        if self._at is not None:
            self._emit(LeaveServer(why))
        self._at = None
        self._server_over = None
        self._server.clear()
        self._server_head = HeadReader(of_requests=False)

    def _hang_up(self, why: str, *, cut: bool = False) -> None:
        self._leave(why)
        self._emit(HangUp(why, cut))
        self._close()

    def _tunnel(self) -> None:
        self._emit(Tunnel(bytes(self._client), bytes(self._server)))
        self._close()

    def _close(self) -> None:
        self._stage = Stage.OVER
        self._client.clear()
        self._server.clear()
        self._at = self._exchange = self._pending = self._connect = None

    def _emit(self, event: Event) -> None:
        self._events.append(event)


def _told(target: Target) -> list[str | int | bool]:
    """Return *target* as a state has it."""
    return [target.host, target.port, target.is_address]


def _method(request: Request) -> str:
    """Return the way in which *request* asks for a server, of `METHODS`."""
    return CONNECT if request.method == b"CONNECT" else HTTP


def _credentials(request: Request) -> bytes | None:
    """Return the value of Proxy-Authorization; None without one, or with several."""
    values = http_head.values(request.fields, b"proxy-authorization")
    return values[0] if len(values) == 1 else None

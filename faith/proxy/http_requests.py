"""The requests of one client of HTTP: read, judged, answered by the proxy itself or passed on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from faith.proxy import body_framing, http_head, own_answers, request_target
from faith.proxy.basic_credentials import basic
from faith.proxy.http_connection import Stage
from faith.proxy.http_head import BadMessage, HeadReader, Request
from faith.proxy.proxy_events import CONNECT, CheckUser, Refused, Target, ToClient
from faith.proxy.request_refusal import method_of, refusal
from faith.proxy.request_target import Asked
from faith.translation import reasons

if TYPE_CHECKING:
    from faith.proxy.body_framing import Chunked, KnownLength
    from faith.proxy.http_connection import HttpConnection
    from faith.proxy.http_forwarding import HttpForwarding
    from faith.proxy.own_answers import OwnAnswer

_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class _Read(NamedTuple):
    """A request that has been read, the *server* that it asks for, and its *body* to come."""

    request: Request
    asked: Asked
    body: KnownLength | Chunked


class _Connect(NamedTuple):
    """A CONNECT to *target* under way, of a client that *leaves* if nothing comes of it."""

    target: Target
    leaves: bool


class HttpRequests:
    """Reads the requests on *connection*; those for a server of HTTP go to *forwarding*."""

    def __init__(self, connection: HttpConnection, forwarding: HttpForwarding) -> None:
        self._connection = connection
        self._forwarding = forwarding
        self._heads = HeadReader(of_requests=True)
        self.user = ""
        """The user of the server that there is, empty for nobody."""
        self._pending: tuple[_Read, str] | None = None
        self._connect: _Connect | None = None

    @property
    def connects(self) -> bool:
        """Return whether the server that is dialled was asked for by CONNECT."""
        return self._connect is not None

    def state(self) -> list[Any] | None:
        """Return the state for `restore`, fit for JSON; there is none while a user is checked."""
        connect = self._connect
        return None if connect is None else [connect.target.state(), connect.leaves]

    def restore(self, state: list[Any] | None) -> None:
        """Go on, just made, where the one stopped whose `state` it is."""
        if state is not None:
            target, leaves = state
            self._connect = _Connect(Target(*target), leaves)

    # -- reading ---------------------------------------------------------------------------------

    def step(self) -> bool:
        """Look at a server that nothing was asked of, and for the next request.

        Return whether there may be more to look at.
        """
        connection = self._connection
        self._look_at_server()
        try:
            head = self._heads.take(connection.client)
            if head is not None:
                self._read(http_head.request(head))
            elif connection.client_over:
                connection.hang_up(reasons.CLOSED)
        except BadMessage as error:
            connection.refuse(error)
            return False
        return head is not None

    def _look_at_server(self) -> None:
        """Leave a server that has ended, or has said something, before another request of it."""
        server = self._connection.server
        if server.octets:
            self._connection.leave_server(reasons.OUT_OF_STEP)  # else they begin the next answer
        elif server.over is not None:
            self._connection.leave_server(server.over)

    def _read(self, request: Request) -> None:
        """Look at a *request*, of which the body is to come."""
        asked = self._asked(request)
        body = body_framing.of_request(request.fields, request.minor)
        own_answers.max_forwards(request)
        if request.method in (b"CONNECT", b"TRACE") and not body.over:
            raise BadMessage(f"{request.method.decode()} has no content (RFC 9110 section 9.3)")
        read, rules = _Read(request, asked, body), self._connection.rules
        if asked.server is None:
            self._answer(read, own_answers.resource(request, asked.path, rules))
        elif rules.needs_user:
            self._check_user(read)
        else:
            self._log_in("")
            self._admit(read, asked.server)

    def _asked(self, request: Request) -> Asked:
        asked, own = request_target.asked(request), self._connection.rules.own
        server = asked.server
        if server and request.method != b"CONNECT" and (server.host, server.port) in own:
            return Asked(None, asked.path)
        return asked

    # -- users -----------------------------------------------------------------------------------

    def _check_user(self, read: _Read) -> None:
        """Have the user of a request checked, or ask for one."""
        credentials = http_head.values(read.request.fields, b"proxy-authorization")
        user = basic(credentials[0]) if len(credentials) == 1 else None
        if user is None:
            self._answer(read, own_answers.password_needed())
            return
        self._pending = read, user[0]
        self._connection.stage = Stage.USER
        self._connection.emit(CheckUser(*user))

    def user_checked(self, good: bool | None) -> None:
        """Go on with the answer to CheckUser: None is a user that was not looked at."""
        pending, self._pending = self._pending, None
        assert pending
        read, name = pending
        assert read.asked.server
        self._connection.stage = Stage.HEAD
        self._look_at_server()
        if good:
            self._log_in(name)
            self._admit(read, read.asked.server)
            return
        why = reasons.WRONG_PASSWORD
        self._connection.emit(Refused(read.asked.server, why, method_of(read.request)))
        self._answer(read, own_answers.wrong_password(good), why)

    def _log_in(self, user: str) -> None:
        """Have no server that another user has had: its session is recorded as that one's."""
        if user != self.user:
            self._connection.leave_server(reasons.CLOSED)
            self.user = user

    # -- what comes of a request -----------------------------------------------------------------

    def _admit(self, read: _Read, server: Target) -> None:
        """Do what a request of a user who may asks of *server*, or say what is against it."""
        request, connection = read.request, self._connection
        hops = own_answers.max_forwards(request)
        against = refusal(request, server, connection.rules)
        if against is not None:
            connection.emit(Refused(server, against.why, method_of(request)))
            pseudonym = connection.rules.pseudonym
            self._answer(read, own_answers.failed(*against, pseudonym), against.why)
        elif hops == 0:
            self._answer(read, own_answers.last_hop(request))
        elif request.method == b"CONNECT":
            connection.leave_server(reasons.CLOSED)
            self._connect = _Connect(server, own_answers.leaves(request))
            connection.dial(server, CONNECT)
        else:
            self._forwarding.begin(*read, None if hops is None else hops - 1)

    def _answer(self, read: _Read, answer: OwnAnswer, why: str = reasons.CLOSED) -> None:
        """Answer a request, whose body is not read, in a server's place."""
        leaves = own_answers.leaves(read.request) or not read.body.over
        has_body = read.request.method != b"HEAD"
        self._connection.say(answer, leaves=leaves, has_body=has_body, why=why)

    # -- CONNECT ---------------------------------------------------------------------------------

    def connected(self) -> None:
        """Let both streams pass: the server of CONNECT has answered."""
        self._connect = None
        self._connection.emit(ToClient(_ESTABLISHED))
        self._connection.tunnel()

    def failed(self, why: str) -> None:
        """Answer that the server of CONNECT was not reached."""
        connect, self._connect = self._connect, None
        assert connect
        self._connection.stage = Stage.HEAD
        self._connection.say_failed(why, connect.target, leaves=connect.leaves, has_body=True)

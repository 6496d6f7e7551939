"""One question to one server and its reply: by UDP, by TCP if that is cut short, or by TLS."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from faith.dns.answer import failure, from_reply
from faith.dns.datagrams import Datagrams
from faith.dns.request import NOT_UNDERSTOOD, Request, has_question
from faith.dns.streams import HANG_UPS, Streams
from faith.dns.tasks import Tasks
from faith.dns.wire import HEADER, RCODE, TC, WireError
from faith.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.dns.answer import Answer
    from faith.dns.endpoint import Endpoint
    from faith.dns.question import Question
    from faith.dns.request import Place

    Result = Answer | OSError | WireError
    Done = Callable[[Result], object]

_TC = TC >> 8


class Exchange:
    """Asks one server; *tasks* connect to it.  *context* is for TLS: *endpoint* has a name then."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        mixed_case: bool = False,
        context: ssl.SSLContext | None = None,
        tasks: Tasks | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.mixed_case = mixed_case
        """True while the case of letters is mixed: no longer when the server loses it."""
        tasks = tasks or Tasks()
        self.streams = Streams(endpoint, context, tasks)
        self.datagrams = None if endpoint.name else Datagrams(endpoint, tasks.timers)

    def ask(self, question: Question, done: Done) -> Asking:
        """Ask *question*; *done* is called with the server's answer, whatever it is.

        Or with OSError (a TLS error is one), or with WireError for a reply that makes no sense.
        There is no time limit: cancel what is returned.
        """
        asking = Asking(self, question, done)
        asking.send()
        return asking

    def is_own(self, host: str, port: int | None = None) -> bool:
        """Return whether questions are sent to the server from there, from any port for None."""
        return self.streams.is_own(host, port) or (
            self.datagrams is not None and self.datagrams.is_own(host, port)
        )

    def close(self) -> None:
        """Close all sockets; nobody waits for anything any more."""
        if self.datagrams:
            self.datagrams.close()
        self.streams.close()


class Asking:
    """A question on its way to a server and back, maybe more than once.

    *where* it waits, under which *id*, is for who takes it there.
    """

    __slots__ = (
        "_by_stream",
        "_done",
        "_exchange",
        "_is_other_case",
        "_question",
        "_repeats",
        "id",
        "request",
        "where",
    )

    def __init__(self, exchange: Exchange, question: Question, done: Done) -> None:
        self._exchange = exchange
        self._question = question
        self._done: Done | None = done
        self._by_stream = exchange.datagrams is None
        self._is_other_case = False
        self._repeats = HANG_UPS
        self.request = Request(question, mixed_case=exchange.mixed_case)
        self.where: Place | None = None
        self.id = 0

    def send(self) -> None:
        """Send the request, or have it wait for a connection."""
        exchange = self._exchange
        if self._by_stream or exchange.datagrams is None:
            exchange.streams.send(self)
            return
        try:
            exchange.datagrams.send(self)
        except OSError as error:
            self.failed(error)

    def received(self, reply: bytes) -> None:
        """Conclude by *reply*, which answers the request; or ask in another way."""
        self.where = None
        request = self.request
        exchange = self._exchange
        if not self._by_stream and reply[2] & _TC:
            self._again_by_stream()
        elif request.mixed_case and has_question(reply) and not request.repeats_case(reply):
            # A stream is safe without: what comes there comes from the server.
            if self._by_stream:
                exchange.mixed_case = False
                self._conclude(reply)
            else:
                self._is_other_case = True
                self._again_by_stream()
        elif request.edns and reply[3] & RCODE in NOT_UNDERSTOOD:  # it may be EDNS (RFC 6891 §7)
            self.request = Request(self._question, edns=False, mixed_case=exchange.mixed_case)
            self.send()
        else:
            self._conclude(reply)

    def _again_by_stream(self) -> None:
        self._by_stream = True
        self._exchange.streams.send(self)

    def _conclude(self, reply: bytes) -> None:
        try:
            if has_question(reply):
                self._say(from_reply(reply, HEADER.size + len(self.request.section)))
            else:
                self._say(failure(self._question, reply[3] & RCODE))
        except WireError as error:
            self._say(error)

    def failed(self, error: OSError) -> None:
        """Conclude by *error*; but a server without TCP may answer in letters of its own."""
        self.where = None
        if self._is_other_case:
            self._is_other_case = self._by_stream = False
            self.request = Request(self._question, edns=self.request.edns)
            self.send()
        else:
            self._say(error)

    def may_repeat(self) -> bool:
        """Return whether to ask again on another connection, which is so a few times."""
        self.where = None
        self._repeats -= 1
        return self._repeats >= 0

    def _say(self, result: Result) -> None:
        if done := self._done:
            self._done = None
            done(result)

    def cancel(self) -> None:
        """Call nobody."""
        self._done = None
        if self.where:
            self.where.give_up(self)
            self.where = None


def tls_context(authorities: str | None = None) -> ssl.SSLContext:
    """TLS as RFC 8310 §8.1 wants it, trusting the system's certificates or those in a PEM text.

    Raises ConfigError for a text that has none.
    """
    try:
        if authorities == "":  # which for OpenSSL's module is as good as None
            raise ssl.SSLError("it is empty")
        context = ssl.create_default_context(cadata=authorities)
    except (OSError, TypeError) as error:  # SSLError is one; TypeError is for what is not ASCII
        raise ConfigError(f"there are no certificates to trust: {error}") from error
    context.set_alpn_protocols(["dot"])
    return context

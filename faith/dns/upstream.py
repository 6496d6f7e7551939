"""The servers that know: several of them, of which one that does not answer is soon asked last."""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING

from faith.dns import race
from faith.dns.answer import Answer
from faith.dns.dns_counters import Counters
from faith.dns.question import Question
from faith.dns.race import Race
from faith.dns.upstream_health import LoggedHealth, Probe
from faith.dns.wire import IN, NOERROR, NS, NXDOMAIN, TYPE_CLASS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from faith.dns.dns_timers import Timers
    from faith.dns.tasks import Tasks
    from faith.dns.upstream_exchange import Asking, Exchange, Result

KNOWN = 3
"""Questions that a server is probed with, beside that for the root: the last that it answered."""
TOLERANCE = 3
"""Failures in a row until a server is asked after all others."""
REST = 1.0
"""Seconds until it has another chance, doubled with every further failure."""
LONGEST_REST = 30.0

_OWN_FAULTS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""Errors that are not the server's: this process has run out of something."""
_ROOT = Question(b"\0" + TYPE_CLASS.pack(NS, IN))
"""A question that most servers answer at once, be it with a refusal."""


class Upstream:
    """A server and its health, by the loop's time; *timers* are for finding out.

    Silence is a failure only if the server has said nothing at all meanwhile: a name can be dead
    that a sound server asks others for.  When everything failed, a `Probe` tells the two apart, by
    questions that the server has answered before; the log has only what that has shown.
    """

    def __init__(self, exchange: Exchange, counters: Counters, timers: Timers) -> None:
        self.exchange = exchange
        self._counters = counters
        self._timers = timers
        self._loop = asyncio.get_running_loop()
        self._failures = 0
        self._rests_until = 0.0
        self._heard = -1.0
        self._known: deque[Question] = deque(maxlen=KNOWN)
        """The questions that it has answered last by yes or no."""
        self._probing = False
        self._health = LoggedHealth(str(exchange.endpoint), timers)
        self._returned = 0
        """Questions that came back from it, since it said yes or no to one."""
        self._host = str(ip_address(exchange.endpoint.host))

    @property
    def health(self) -> tuple[str, str]:
        """The server's address, and its error; "" if it answers."""
        return str(self.exchange.endpoint), self._health.error

    def rests(self, now: float) -> bool:
        """Return whether others should be asked first."""
        return now < self._rests_until

    def ask(self, question: Question, done: Callable[[Answer | None], object]) -> Asking:
        """Ask; *done* gets the answer, or None when there is none that makes sense."""
        return self.exchange.ask(question, lambda result: done(self._judged(question, result)))

    def _judged(self, question: Question, result: Result) -> Answer | None:
        """Return the answer in *result*, if it is one, and take note of what that says."""
        if isinstance(result, Answer):
            self._counters.asked("answer")
            if result.rcode in (NOERROR, NXDOMAIN):
                self._returned = 0
                self._known.append(question)
            self._answers()
            return result
        self._counters.asked("error")
        if getattr(result, "errno", None) not in _OWN_FAULTS:
            self._failed()
        return None

    def _answers(self) -> None:
        self._heard = self._loop.time()
        if self._failures:
            self._failures = 0
            self._rests_until = 0.0
        if self._health.has_failed and not self._returned:
            self._health.recover()

    def missed(self, since: float) -> None:
        """Take note that a question has had no answer *since* it was asked, and time for one."""
        self._counters.asked("timeout")
        if self._heard < since:
            self._failed()

    def _failed(self) -> None:
        now = self._loop.time()
        self._failures += 1
        if self._failures < TOLERANCE:
            return
        if not self.rests(now):
            pause = REST * 2 ** min(self._failures - TOLERANCE, 10)
            self._rests_until = now + min(pause, LONGEST_REST)
        if not self._health.has_failed and not self._probing:
            self._probing = True
            questions = {question.section: question for question in (_ROOT, *self._known)}
            Probe(self.exchange, list(questions.values()), self._timers, self._probed)

    def _probed(self, error: str | None) -> None:
        self._probing = False
        if error is None:
            self._answers()
        elif self._failures >= TOLERANCE:
            self._health.fail(error)

    def comes_back(self, host: str, port: int) -> bool:
        """Return whether a query from there, for what is being asked, is our own, by way of it.

        On the same host somebody else may ask the same from the same address.
        """
        if self.exchange.is_own(host, port):
            self._returned = TOLERANCE
            self._health.fail("it is this server itself")
            return True
        if self._host != host or self.exchange.is_own(host):
            return False
        self._returned += 1
        if self._returned >= TOLERANCE:
            self._health.fail("it asks this server what this server asks it")
        return True

    def close(self) -> None:
        """Close its sockets."""
        self.exchange.close()


class Upstreams:
    """All servers, in the order of preference; *tasks* have the timers, *counters* count."""

    def __init__(
        self, exchanges: Sequence[Exchange], tasks: Tasks, counters: Counters | None = None
    ) -> None:
        self._counters = counters or Counters()
        self._timers = tasks.timers
        self._loop = asyncio.get_running_loop()
        self._all: list[Upstream] = []
        self._leaving: set[Upstream] = set()
        self._counters.servers = self._servers
        self.replace(exchanges)

    def replace(self, exchanges: Sequence[Exchange]) -> None:
        """Ask these servers from now on; of those asked before, the others are closed."""
        known = {upstream.exchange: upstream for upstream in self._all}
        self._all = [
            known.pop(exchange)
            if exchange in known
            else Upstream(exchange, self._counters, self._timers)
            for exchange in exchanges
        ]
        for upstream in known.values():  # questions may be under way
            self._leaving.add(upstream)
            self._timers.after(2 * race.DEADLINE, partial(self._left, upstream))

    def _servers(self) -> list[tuple[str, str]]:
        return [upstream.health for upstream in self._all]

    def _left(self, upstream: Upstream) -> None:
        self._leaving.discard(upstream)
        upstream.close()

    def ask(self, question: Question, done: Callable[[Answer], object]) -> Race:
        """Ask for the best answer that can be had in time; SERVFAIL if there is none.

        "Best" is any that says yes or no, or else the last that says something different.  *done*
        gets it, maybe before this returns.
        """
        servers = self._all
        if len(servers) > 1:
            now = self._loop.time()
            servers = sorted(servers, key=lambda upstream: upstream.rests(now))
        found = Race(question, servers, self._timers, done)
        found.go_on()
        return found

    def comes_back(self, host: str, port: int) -> bool:
        """Return whether a query from there, for what is being asked, is one of our own."""
        return any(upstream.comes_back(host, port) for upstream in self._all)

    def close(self) -> None:
        """Close all sockets; nobody waits for anything any more."""
        for upstream in (*self._all, *self._leaving):
            upstream.close()

"""The servers that know: several of them, of which one that does not answer is soon asked last."""

from __future__ import annotations

import asyncio
import errno
import logging
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING

from faith.dns.answer import Answer, failure
from faith.dns.counters import Counters
from faith.dns.question import Question
from faith.dns.wire import IN, NOERROR, NS, NXDOMAIN, TYPE_CLASS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from faith.dns.exchange import Asking, Exchange, Result
    from faith.dns.tasks import Tasks
    from faith.dns.timers import Timer, Timers

DEADLINE = 4.4
"""Seconds for a question in all: clients give up after five."""
PATIENCE = (0.6, 0.9, 1.2)
"""Seconds after each attempt until the next is made; replies to the former still count."""
TOLERANCE = 3
"""Failures in a row until a server is asked after all others."""
REST = 1.0
"""Seconds until it has another chance, doubled with every further failure."""
LONGEST_REST = 30.0

_OWN_FAULTS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""What the server knows nothing of: we have run out of something."""
_ROOT = Question(b"\0" + TYPE_CLASS.pack(NS, IN))
"""What any server answers at once, be it with a refusal."""

log = logging.getLogger("faith.dns")


class Upstream:
    """A server and its health, by the loop's time; *timers* are for finding out.

    Silence is a failure only if the server has said nothing at all meanwhile: a name can be slow
    that a quick server asks others for.  When everything was slow, one question more tells the two
    apart, which any server answers at once.
    """

    def __init__(self, exchange: Exchange, counters: Counters, timers: Timers) -> None:
        self.exchange = exchange
        self._counters = counters
        self._timers = timers
        self._loop = asyncio.get_running_loop()
        self._failures = 0
        self._rests_until = 0.0
        self._heard = -1.0
        self._has_failed = False
        """What the log was told."""
        self._probe: Asking | None = None
        self._returned = 0
        """Questions that came back from it, since it answered one."""
        self._host = str(ip_address(exchange.endpoint.host))

    def rests(self, now: float) -> bool:
        """Return whether others should be asked first."""
        return now < self._rests_until

    def ask(self, question: Question, done: Callable[[Answer | None], object]) -> Asking:
        """Ask; *done* gets the answer, or None when there is none that makes sense."""
        return self.exchange.ask(question, partial(self._said, done))

    def _said(self, done: Callable[[Answer | None], object], result: Result) -> None:
        if isinstance(result, Answer):
            self._counters.asked("answer")
            if result.rcode in (NOERROR, NXDOMAIN):
                self._returned = 0
            self._answers()
            done(result)
            return
        self._counters.asked("error")
        if getattr(result, "errno", None) not in _OWN_FAULTS:
            self._failed(str(result))
        done(None)

    def _answers(self) -> None:
        self._heard = self._loop.time()
        if self._failures:
            self._failures = 0
            self._rests_until = 0.0
        if self._has_failed and not self._returned:
            self._has_failed = False
            log.info("server %s answers again", self.exchange.endpoint)

    def missed(self, since: float) -> None:
        """Take note that a question has had no answer *since* it was asked, and time for one."""
        self._counters.asked("timeout")
        if self._heard < since:
            self._failed("")

    def _failed(self, why: str) -> None:
        now = self._loop.time()
        self._failures += 1
        if self._failures < TOLERANCE:
            return
        if why:
            self._complain(why)
        elif not self._has_failed and self._probe is None:
            self._probe = self.exchange.ask(_ROOT, self._probed)
            self._timers.after(PATIENCE[0], self._unheard)
        if not self.rests(now):
            pause = REST * 2 ** min(self._failures - TOLERANCE, 10)
            self._rests_until = now + min(pause, LONGEST_REST)

    def _probed(self, result: Result) -> None:
        self._probe = None
        if isinstance(result, Answer):
            self._answers()
        else:
            self._complain(str(result))

    def _unheard(self) -> None:
        if self._probe:
            self._probe.cancel()
            self._probe = None
            if self._failures >= TOLERANCE:
                self._complain("no answer")

    def _complain(self, why: str) -> None:
        if not self._has_failed:
            self._has_failed = True
            log.warning("server %s fails: %s", self.exchange.endpoint, why)

    def comes_back(self, host: str, port: int) -> bool:
        """Return whether a query from there, for what is being asked, is our own, by way of it.

        On the same host somebody else may ask the same from the same address.
        """
        if self.exchange.is_own(host, port):
            self._complain("it is this server itself")
            return True
        if self._host != host or self.exchange.is_own(host):
            return False
        self._returned += 1
        if self._returned >= TOLERANCE:
            self._complain("it asks this server what this server asks it")
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
            self._timers.after(2 * DEADLINE, partial(self._left, upstream))

    def _left(self, upstream: Upstream) -> None:
        self._leaving.discard(upstream)
        upstream.close()

    def ask(self, question: Question, done: Callable[[Answer], object]) -> Race:
        """Ask for the best answer that can be had in DEADLINE seconds; SERVFAIL if there is none.

        "Best" is any that says yes or no, or else the last that says something different.  *done*
        gets it, maybe before this returns.
        """
        servers = self._all
        if len(servers) > 1:
            now = self._loop.time()
            servers = sorted(servers, key=lambda upstream: upstream.rests(now))
        race = Race(question, servers, self._timers, done)
        race.begin()
        return race

    def comes_back(self, host: str, port: int) -> bool:
        """Return whether a query from there, for what is being asked, is one of our own."""
        return any(upstream.comes_back(host, port) for upstream in self._all)

    def close(self) -> None:
        """Close all sockets; nobody waits for anything any more."""
        for upstream in (*self._all, *self._leaving):
            upstream.close()


class Race:
    """One question to one server after the other, until one settles it.

    Who is silent is asked again in turn, who has said something is not.
    """

    __slots__ = (
        "_asked",
        "_best",
        "_deadline",
        "_done",
        "_loop",
        "_question",
        "_silent",
        "_timer",
        "_timers",
    )

    def __init__(
        self,
        question: Question,
        upstreams: Sequence[Upstream],
        timers: Timers,
        done: Callable[[Answer], object],
    ) -> None:
        self._question = question
        self._silent = list(upstreams)
        self._timers = timers
        self._done: Callable[[Answer], object] | None = done
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + DEADLINE
        self._asked: list[_Attempt] = []
        self._best: Answer | None = None
        self._timer: Timer | None = None

    def begin(self) -> None:
        """Ask the first server."""
        self._go_on()

    def cancel(self) -> None:
        """Ask nobody any more, and call nobody."""
        self._done = None
        self._stop()
        for attempt in self._asked:
            attempt.cancel()

    def _go_on(self) -> None:
        """Ask whose turn it is, or conclude when there is nobody, or no time."""
        while self._done:
            left = self._deadline - self._loop.time()
            if left <= 0 or not (self._silent or any(each.is_open for each in self._asked)):
                self._conclude()
                return
            if self._timer:
                self._timer.cancel()
            if not self._silent:
                self._timer = self._timers.after(left, self._go_on)
                return
            pause = PATIENCE[min(len(self._asked), len(PATIENCE) - 1)]
            upstream = self._silent.pop(0)
            attempt = _Attempt(self, upstream, self._loop.time())
            self._asked.append(attempt)
            attempt.begin(self._question)
            if attempt.is_open:
                self._silent.append(upstream)
                self._timer = self._timers.after(min(pause, left), self._go_on)
                return

    def heard(self, attempt: _Attempt, answer: Answer | None) -> None:
        """Conclude by *answer*, or ask the next server."""
        if self._done is None:
            return
        if attempt.upstream in self._silent:
            self._silent.remove(attempt.upstream)
        if answer:
            self._best = answer
            if answer.rcode in (NOERROR, NXDOMAIN) or answer.bogus is True:
                self._conclude()
                return
        if attempt.is_under_way:
            self._go_on()

    def _stop(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _conclude(self) -> None:
        """Say what is best; go on listening to who may be slow, not dead."""
        self._stop()
        if done := self._done:
            self._done = None
            self._leave([attempt for attempt in self._asked if attempt.is_open])
            done(self._best or failure(self._question))

    def _leave(self, late: list[_Attempt]) -> None:
        """Take note of who has had the time to answer; their answers are heard, but not used."""
        self._asked = late  # the others would hold us, as we hold them
        if not late:
            return
        now = self._loop.time()
        since: dict[Upstream, float] = {}
        for attempt in late:
            since.setdefault(attempt.upstream, attempt.since)
        for upstream, first in since.items():
            if now - first >= PATIENCE[0] / 2:
                upstream.missed(first)
        self._timers.after(DEADLINE, self.cancel)


class _Attempt:
    """A question put to *upstream*, *since* a moment of the loop's time."""

    __slots__ = ("_asking", "_race", "is_open", "is_under_way", "since", "upstream")

    def __init__(self, race: Race, upstream: Upstream, since: float) -> None:
        self._race = race
        self.upstream = upstream
        self.since = since
        self.is_open = True
        self.is_under_way = False
        self._asking: Asking | None = None

    def begin(self, question: Question) -> None:
        """Ask; it may fail at once, and is not open any more then."""
        asking = self.upstream.ask(question, self._heard)
        if self.is_open:
            self._asking = asking
            self.is_under_way = True

    def _heard(self, answer: Answer | None) -> None:
        self.is_open = False
        self._asking = None
        self._race.heard(self, answer)

    def cancel(self) -> None:
        """Do without the answer."""
        if self._asking:
            self._asking.cancel()
            self._asking = None
            self.is_open = False

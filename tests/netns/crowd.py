"""Clients of all kinds that use one gateway for a long time, at a bounded rate."""

from __future__ import annotations

import asyncio
import contextlib
import ftplib
import io
import random
import subprocess
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import dns.exception
import dns.message
import dns.query
import pytest

from faith.errors import FaithError
from faith.lab.topology import GATEWAY_V6
from tests.netns import abuse, load
from tests.netns.datagrams import AGAIN
from tests.netns.outcomes import Outcome

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from faith.lab import ThreeHosts
    from tests.netns.outcomes import Tally
    from tests.netns.way import Way

AT_ONCE = 100
"""Short sessions: the most at a time."""
BULK_EVERY, BULK = 40, 4 << 20
"""Of so many short sessions one is long, with so many bytes each way."""
FILE = random.Random(21).randbytes(300_007)
"""What goes by FTP."""
FAILURES = (
    *(OSError, EOFError, AssertionError, subprocess.CalledProcessError, subprocess.TimeoutExpired),
    *(ftplib.Error, FaithError, dns.exception.DNSException),
)
"""What is raised by something that did not go as it should."""


class Visits(abuse.Abuse):
    """Short sessions, so many new ones a second: requests, bulk, and those that behave ill."""

    def __init__(self, way: Way, tally: Tally, rate: int, what: str = "short sessions") -> None:
        super().__init__(way, [])
        self._tally = tally
        self._rate = rate
        self._what = what
        self._room = asyncio.Semaphore(AT_ONCE)
        self._begun: list[tuple[abuse.Case, Outcome]] = []

    async def run_for(self, seconds: float) -> None:
        """Have them begin for so long, and wait for the last to end."""
        chance = random.Random(3142)
        end = time.monotonic() + seconds
        async with asyncio.TaskGroup() as servers:
            accepting = servers.create_task(self.accept(servers))
            async with asyncio.TaskGroup() as clients:
                while time.monotonic() < end:
                    await self._room.acquire()
                    self.cases.append(_case(chance, len(self.cases)))
                    clients.create_task(self._visit(len(self.cases) - 1))
                    await asyncio.sleep(1 / self._rate)  # time: the rate of clients
            accepting.cancel()
        for case, outcome in self._begun:
            self._tally.outcomes.append(self._judged(case, outcome))

    async def accept(self, tasks: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(self.listener)
            sock.setblocking(False)
            tasks.create_task(self.server(sock))

    async def server(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the case tells
            await super().server(sock)

    async def _visit(self, number: int) -> None:
        outcome = Outcome(self._what, time.monotonic())
        try:
            await self.client(number)
        except (OSError, AssertionError) as error:
            outcome.error = error
        outcome.ended = time.monotonic()
        self._begun.append((self.cases[number], outcome))
        self._room.release()

    def _judged(self, case: abuse.Case, outcome: Outcome) -> Outcome:
        """Return *outcome* when the server's side has ended, too."""
        if case.must_be_reset:
            outcome.what = "reset on purpose"
        if case.port:
            outcome.ports, outcome.connected = (case.port, self.way.port), case.connected
        if case.source_port:
            outcome.onward = self.way.port, case.source_port
        try:
            case.check()
        except AssertionError as error:
            outcome.error = outcome.error or error
            outcome.error.add_note(str(case))
        return outcome


def _case(chance: random.Random, number: int) -> abuse.Case:
    if number % BULK_EVERY == 0:
        return abuse.Case.bulk(chance, BULK)
    return abuse.Case.request(chance) if number % 4 else abuse.Case.at_random(chance)


class Stays:
    """Sessions that last, a sixth of them idle and others in transfer, until `end`."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._load = load.Load()
        self._begun = 0
        self.there: Counter[Way] = Counter()
        """How many there are now."""

    @property
    def moved(self) -> int:
        """Bytes that have been sent."""
        return self._load.moved

    def end(self) -> None:
        """Have all of them come to their good end."""
        self._load.over.set()

    async def begin(self, way: Way, count: int, group: asyncio.TaskGroup) -> None:
        """Have so many more."""
        pairs = await asyncio.to_thread(load.connections, way, count)
        for pair in pairs:
            group.create_task(self._stay(way, self._begun, *pair))
            self._begun += 1

    async def _stay(
        self, way: Way, number: int, client: socket.socket, server: socket.socket
    ) -> None:
        kind = self._load.kinds[number % len(self._load.kinds)]
        ports = client.getsockname()[1], way.port
        outcome = Outcome("sessions that stayed", now := time.monotonic(), ports, connected=now)
        self.there[way] += 1
        with client, server:
            try:
                await kind(client, server, random.Random(number))
            except* (OSError, AssertionError) as errors:
                outcome.error = errors
        self.there[way] -= 1
        outcome.ended = time.monotonic()
        self._tally.outcomes.append(outcome)


class Actor(threading.Thread):
    """Somebody who does something to the gateway all the time, in a thread of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.failure: BaseException | None = None
        self._over = threading.Event()

    def run(self) -> None:
        try:
            self._work()
        except (*FAILURES, LookupError, ValueError, pytest.fail.Exception) as error:
            self.failure = error

    def stop(self) -> None:
        """Do no more; raises what has gone wrong."""
        self._over.set()
        self.join(120)
        if self.failure:
            raise self.failure

    def _work(self) -> None:
        """Do it until it is over."""
        raise NotImplementedError


class Clients:
    """What clients do one after the other, each with a thread of its own."""

    def __init__(self, lab: ThreeHosts, tally: Tally) -> None:
        self._lab = lab
        self._tally = tally
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._asked = 0

    def repeat(self, what: str, visit: Callable[[int, Outcome], None], every: float) -> None:
        """Have it done until :meth:`stop`, with a pause of so many seconds after each time."""
        thread = threading.Thread(target=self._repeat, args=(what, visit, every))
        self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _repeat(self, what: str, visit: Callable[[int, Outcome], None], every: float) -> None:
        number = 0
        while not self._over.wait(every):
            number += 1
            outcome = Outcome(what, time.monotonic())
            try:
                visit(number, outcome)
            except FAILURES as error:
                outcome.error = error
            outcome.ended = time.monotonic()
            self._tally.outcomes.append(outcome)

    def transfer(self, number: int, outcome: Outcome) -> None:
        """A file by FTP, passive and active by turns, and every other time there and back."""
        with self._lab.client.inside(), ftplib.FTP(timeout=20) as ftp:
            try:
                ftp.connect(self._lab.mapped(), 21)
            finally:  # the session may have ended before its greeting
                if ftp.sock:
                    outcome.ports = ftp.sock.getsockname()[1], 21
            ftp.login("me", "secret")
            ftp.set_pasv(bool(number & 1))
            if number & 2:
                ftp.storbinary("STOR file", io.BytesIO(FILE))
            received = io.BytesIO()
            ftp.retrbinary("RETR file", received.write)
            assert received.getvalue() == FILE, "the file is not as it was"

    def question(self, number: int, outcome: Outcome) -> None:
        """A name, whose time in the cache is a second."""
        query = dns.message.make_query("www.example.", "AAAA")
        with self._lab.client.inside():
            try:
                reply = dns.query.udp(query, GATEWAY_V6, timeout=2)
            except dns.exception.Timeout:  # a datagram may be lost with the socket of a program
                outcome.what += AGAIN
                reply = dns.query.udp(query, GATEWAY_V6, timeout=2)
        assert [str(rdata) for rrset in reply.answer for rdata in rrset] == [self._lab.mapped()]

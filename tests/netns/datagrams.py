"""Questions by UDP and by ping, each of which is to come back as it went."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from faith.datagram import icmp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.netns.outcomes import Outcome
    from tests.netns.way import Way

PATIENCE = 2.0
"""Seconds to wait for an answer."""
SIZES = 8, 100, 1232, 8000
"""Octets of a question."""
TOKEN = 8
"""Octets at the beginning of a question, the same for all of one flow."""
IDENTIFIERS = 64
AGAIN = " asked twice"
"""What is added to an outcome's name when it has come to that."""

Endpoint = tuple[str, int]


class Echo:
    """A server that sends everything back, and knows from where each flow came."""

    def __init__(self, way: Way) -> None:
        self.sources: defaultdict[bytes, set[Endpoint]] = defaultdict(set)
        with way.server.inside():
            self._sock = socket.socket(way.families[1], socket.SOCK_DGRAM)
        self._sock.bind((way.own, way.port))
        self._sock.settimeout(0.2)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                question, source = self._sock.recvfrom(1 << 16)
                self.sources[question[:TOKEN]].add(source[:2])
                self._sock.sendto(question, source)

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._sock.close()


class Line(Protocol):
    """What a client asks by."""

    def send(self, question: bytes) -> None:
        """Ask."""

    def receive(self) -> bytes:
        """The answer.  Raises TimeoutError."""


class UdpLine:
    """A port of a client's, at *source* or where the kernel chooses."""

    def __init__(self, way: Way, source: str = "") -> None:
        with way.client.inside():
            self.sock = socket.socket(way.families[0], socket.SOCK_DGRAM)
        self.sock.settimeout(PATIENCE)
        self.sock.bind((source, 0))
        self.sock.connect((way.address, way.port))
        self._asked: deque[bytes] = deque(maxlen=4)

    def send(self, question: bytes) -> None:
        self._asked.append(question)
        self.sock.send(question)

    def receive(self) -> bytes:
        *earlier, last = self._asked
        while (answer := self.sock.recv(1 << 16)) in earlier and answer != last:
            continue  # that of a question asked twice
        return answer


class PingLine:
    """An identifier and a number of a client's."""

    def __init__(self, way: Way, identifier: int, number: int) -> None:
        self._family = family = way.families[0]
        v6 = family == socket.AF_INET6
        protocol = socket.IPPROTO_ICMPV6 if v6 else socket.IPPROTO_ICMP
        kinds = (icmp.ECHO_V6, icmp.ECHO_REPLY_V6) if v6 else (icmp.ECHO_V4, icmp.ECHO_REPLY_V4)
        self._request, self._reply = ((kind, identifier, number & 0xFFFF) for kind in kinds)
        with way.client.inside():
            self.sock = socket.socket(family, socket.SOCK_RAW, protocol)
        self.sock.settimeout(PATIENCE)
        self.sock.connect((way.address, 0))

    def send(self, question: bytes) -> None:
        self.sock.send(icmp.echo(*self._request, question))  # the kernel adds ICMPv6's checksum

    def receive(self) -> bytes:
        while True:
            octets = self.sock.recv(1 << 16)
            header = 0 if self._family == socket.AF_INET6 else 4 * (octets[0] & 15)
            heard = icmp.read(octets[header:])
            if heard and (heard.kind, heard.identifier, heard.sequence) == self._reply:
                return heard.body


def ask(line: Line, question: bytes, outcome: Outcome) -> None:
    """Have *question* come back, at the second time of asking at the latest.

    Raises TimeoutError, and AssertionError where something else comes.
    """
    line.send(question)
    try:
        answer = line.receive()
    except TimeoutError:  # a datagram may be lost with the socket of a program
        outcome.what += AGAIN
        line.send(question)
        answer = line.receive()
    assert answer == question, "the answer is another's"


class Askers:
    """Clients of *ways*, by turns: by UDP from ever new ports, and by ping."""

    def __init__(self, ways: Sequence[Way]) -> None:
        self._ways = ways

    def datagram(self, number: int, outcome: Outcome) -> None:
        """A question by UDP."""
        line = UdpLine(self._ways[number % len(self._ways)])
        with line.sock:
            ask(line, _question(number), outcome)

    def ping(self, number: int, outcome: Outcome) -> None:
        """An echo request."""
        way = self._ways[number % len(self._ways)]
        line = PingLine(way, 1 + number % IDENTIFIERS, number)
        with line.sock:
            ask(line, _question(number), outcome)


@dataclass
class Flow:
    """A port of a client's that asks *echo* as long as it is there."""

    line: UdpLine
    echo: Echo
    token: bytes = field(default_factory=lambda: random.randbytes(TOKEN))

    @property
    def sources(self) -> set[Endpoint]:
        """From where the server has heard it."""
        return self.echo.sources[self.token]


class Flows:
    """Flows that ask by turns."""

    def __init__(self, flows: Sequence[Flow]) -> None:
        self.flows = flows

    def ask(self, number: int, outcome: Outcome) -> None:
        """Have one of them ask something."""
        flow = self.flows[number % len(self.flows)]
        ask(flow.line, flow.token + _question(number), outcome)


def _question(number: int) -> bytes:
    chance = random.Random(number)
    return chance.randbytes(chance.choice(SIZES))

"""Questions by UDP and by ping, each of which is to come back as it went."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import threading
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from faith.datagram import icmp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faith.lab import Host
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


def udp(host: Host, address: str, port: int = 0) -> socket.socket:
    """A socket of *host*'s, bound to *address*; waiting for anything takes two seconds at most."""

    def made() -> socket.socket:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        sock.bind((address, port))
        sock.settimeout(PATIENCE)
        return sock

    return host.call(made)


class Echo:
    """A server on *host* that sends everything back, and knows from where it came."""

    def __init__(self, host: Host, address: str, port: int) -> None:
        self.sources: list[Endpoint] = []
        self.sock = udp(host, address, port)
        self._over, self._end = socket.socketpair()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while self._over not in select.select([self.sock, self._over], [], [])[0]:
            with contextlib.suppress(OSError):  # of an ICMP error, or a wrong checksum
                question, source = self.sock.recvfrom(1 << 16)
                self.note(question, source[:2])
                self.sock.sendto(question, source)

    def note(self, question: bytes, source: Endpoint) -> None:
        """Remember from where *question* came."""
        self.sources.append(source)

    def close(self) -> None:
        self._end.close()
        self._thread.join()
        self._over.close()
        self.sock.close()


class FlowEcho(Echo):
    """One at the end of *way* that knows from where each flow came."""

    def __init__(self, way: Way) -> None:
        self.flows: defaultdict[bytes, set[Endpoint]] = defaultdict(set)
        super().__init__(way.server, way.own, way.port)

    def note(self, question: bytes, source: Endpoint) -> None:
        self.flows[question[:TOKEN]].add(source)


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
    echo: FlowEcho
    token: bytes = field(default_factory=lambda: random.randbytes(TOKEN))

    @property
    def sources(self) -> set[Endpoint]:
        """From where the server has heard it."""
        return self.echo.flows[self.token]


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

"""A client, servers and the I/O between them, for one HttpProxy."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from faith.proxy.http_head import LIMIT
from faith.proxy.http_proxy import HttpProxy
from faith.proxy.proxy_events import CheckUser, Dial, Event, HangUp, ToClient, ToServer, Tunnel
from faith.translation import reasons

if TYPE_CHECKING:
    from faith.proxy.proxy_rules import ProxyRules

SOURCE = ("192.0.2.1", 40000)
REFUSED_PORT = 8081
"""Nobody listens there."""


def pieces(octets: bytes, places: list[int]) -> list[bytes]:
    """*octets*, cut at *places* modulo their number."""
    bounds = sorted({place % (len(octets) + 1) for place in places} | {0, len(octets)})
    return [octets[start:end] for start, end in pairwise(bounds)]


def joined(events: list[Event]) -> list[Event]:
    """*events* with what goes to one side in one piece, and without the users to be checked."""
    found: list[Event] = []
    for event in events:
        last = found[-1] if found else None
        match event, last:
            case CheckUser(), _:
                continue
            case ToClient(data), ToClient(before):
                found[-1] = ToClient(before + data)
            case ToServer(data), ToServer(before):
                found[-1] = ToServer(before + data)
            case _:
                found.append(event)
    return found


@dataclass
class Answer:
    """The octets that a server sends for one request, and whether it ends then."""

    octets: bytes
    ends: bool = False


HEAD_ALONE = Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
"""The answer to every HEAD: what would come behind it is the next answer, or none, by chance."""


@dataclass
class Play:
    """One client that sends *octets*, and servers that have *answers*, one for each request.

    Everything comes in pieces, cut at *places*.  If it *moves*, another machine goes on before each
    piece, and while a server is dialled; if it *splices*, octets of bodies go past the machine.  A
    *hasty* client ends as soon as it has sent all, others when nothing more happens.
    """

    rules: ProxyRules
    octets: bytes
    answers: list[Answer]
    places: list[int] = field(default_factory=list)
    moves: bool = False
    splices: bool = False
    hasty: bool = False

    def run(self) -> list[Event]:
        """Return all events, in order."""
        self.machine = HttpProxy(self.rules)
        self.events: list[Event] = []
        self.client = pieces(self.octets, self.places)
        self.server: list[bytes] = []
        self.to_come = list(self.answers)
        self.ends = self.client_has_ended = False
        while not self.is_over() and self.step():
            assert len(self.events) < 10_000
        if self.events and isinstance(tunnel := self.events[-1], Tunnel):
            early, late = b"".join(self.client), b"".join(self.server)
            self.events[-1] = Tunnel(tunnel.early + early, tunnel.late + late)
        return joined(self.events)

    def is_over(self) -> bool:
        return bool(self.events) and isinstance(self.events[-1], HangUp | Tunnel)

    def step(self) -> bool:
        """Feed the next piece, the client's first if it may send; return False without any."""
        self.move()
        if self.machine.wants_client and self.client:
            self.do(self.from_client(self.client.pop(0)))
        elif self.machine.wants_server and self.has_more():
            self.do(self.from_server(self.server.pop(0)))
        elif self.machine.wants_server and self.ends:
            self.ends = False
            self.do(self.machine.server_ended())
        elif self.hasty and not self.client and not self.client_has_ended:
            self.client_ends()
        elif self.machine.wants_server or self.client:
            self.do(self.machine.server_ended())  # it has no more to say, and the client waits
        elif not self.client_has_ended:
            self.client_ends()
        else:
            return False
        return True

    def move(self) -> None:
        """Have another machine go on, if it *moves*."""
        if self.moves:
            state = json.loads(json.dumps(self.machine.state()))
            self.machine = HttpProxy(self.rules)
            self.machine.restore(state)

    def client_ends(self) -> None:
        self.client_has_ended = True
        self.do(self.machine.client_ended())

    def has_more(self) -> bool:
        """Return whether the server has more to say; a new answer begins where one is awaited."""
        exchange = self.machine.state()["exchange"]
        if (
            not self.server
            and not self.ends
            and exchange
            and not exchange["answer"]
            and self.to_come
        ):
            answer = self.to_come.pop(0) if not exchange["asks_head"] else HEAD_ALONE
            self.server = pieces(answer.octets, self.places)
            self.ends = answer.ends
        return bool(self.server)

    def from_client(self, piece: bytes) -> list[Event]:
        size = min(self.machine.client_body, len(piece)) if self.splices else 0
        if not size:
            return self.machine.from_client(piece)
        events = [ToServer(piece[:size]), *self.machine.body_moved("client", size)]
        return events + (self.machine.from_client(piece[size:]) if piece[size:] else [])

    def from_server(self, piece: bytes) -> list[Event]:
        size = min(self.machine.server_body, len(piece)) if self.splices else 0
        if not size:
            return self.machine.from_server(piece)
        events = [ToClient(piece[:size]), *self.machine.body_moved("server", size)]
        return events + (self.machine.from_server(piece[size:]) if piece[size:] else [])

    def do(self, events: list[Event]) -> None:
        """Act on *events*, as a proxy does whose servers all answer, but for one port."""
        self.events += events
        for event in events[:-1]:
            assert not isinstance(event, Dial | CheckUser | HangUp | Tunnel), "it is not the last"
        match events[-1:]:
            case [CheckUser(name)]:
                self.do(self.machine.user_checked({"me": True, "other": None}.get(name, False)))
            case [Dial(target)]:
                self.server, self.ends = [], False
                self.move()
                if target.port == REFUSED_PORT:
                    self.do(self.machine.failed(reasons.REFUSED))
                else:
                    self.do(self.machine.connected(SOURCE))
        if not self.is_over():
            held = self.machine.state()
            assert len(held["client"]) < LIMIT + len(self.octets)
            assert len(held["server"]) < LIMIT

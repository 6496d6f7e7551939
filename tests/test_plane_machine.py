"""The plane between two real TCP peers that do anything in any order (a Hypothesis state machine).

The model is what a single TCP connection would have given each peer: every octet in order, an
urgent octet at its place, a FIN after the last octet, a reset after all that was acknowledged.
Small buffers have everything block early.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import struct
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import uvloop
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from faith.kernel.sockets.tcp_sockets import at_mark, unacknowledged
from faith.relay.tcp import plane as plane_module
from faith.relay.tcp.pipes import PipePool
from faith.relay.tcp.plane import Plane
from faith.relay.tcp.routing import Route
from faith.relay.tcp.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

BUFFER = 16_384
SIZES = st.one_of(
    st.integers(1, 100), st.integers(1, 5_000), st.sampled_from([65_535, 65_536, 200_000])
)
SIDES = st.sampled_from(["client", "server"])


def small_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection whose buffers are small: the peer's own, and the relay's."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        near = socket.socket()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        near.connect(listener.getsockname())
        far, _ = listener.accept()
    for sock in (near, far):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    return near, far


@dataclass
class Peer:
    """One end of the session, and what it did and saw."""

    sock: socket.socket
    sent: bytearray = field(default_factory=bytearray)
    marks: list[int] = field(default_factory=list)  # offsets of the urgent octets it sent
    acknowledged: int = 0  # octets of it, when it reset the connection
    got: bytearray = field(default_factory=bytearray)
    marks_met: list[int] = field(default_factory=list)
    ended: bool = False  # it has sent FIN
    reset: bool = False  # it has sent RST
    failed: bool = False  # a write has met the reset: a read will tell of an end only
    saw: str = ""  # "end", "reset"

    @property
    def alive(self) -> bool:
        return not self.reset and self.saw != "reset"

    def send(self, data: bytes, flags: int = 0) -> None:
        try:
            size = self.sock.send(data, flags)
        except BlockingIOError:
            return
        except (ConnectionResetError, BrokenPipeError):
            self.failed = True
            return
        if flags:
            self.marks.append(len(self.sent) + size - 1)
        self.sent += data[:size]

    def read(self, size: int) -> None:
        """Read once, and note whether that was at a mark."""
        try:
            waiting = select.select([self.sock], [], [], 0)[0]
            if waiting and at_mark(self.sock.fileno()):
                data = self.sock.recv(1)
                if data:
                    self.marks_met.append(len(self.got))
            else:
                data = self.sock.recv(size)
        except BlockingIOError:
            return
        except (ConnectionResetError, BrokenPipeError):
            self.saw = "reset"
            return
        self.got += data
        if not data:
            self.saw = "reset" if self.failed else "end"

    def look(self) -> None:
        """See a reset that came behind a FIN, or before anything was read.

        A write that has met it has taken the socket's error with it.
        """
        if self.saw == "end" and (
            self.failed or self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        ):
            self.saw = "reset"


class PlaneMachine(RuleBasedStateMachine):
    """Two peers, a session between them, and the plane."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = uvloop.new_event_loop()
        self.over: list[Session] = []
        self.plane = Plane(self.loop, lambda leg, mask: None, self.over.append)

    @initialize(pipes=st.integers(0, 2), turns=st.sampled_from([1, 2, 16]))
    def connect(self, pipes: int, turns: int) -> None:
        plane_module.TURNS = turns
        self.plane._pipes = PipePool(pipes)
        client, client_leg = small_pair()
        server, server_leg = small_pair()
        self.peers = {"client": Peer(client), "server": Peer(server)}
        route = Route("::")
        self.session = Session(client_leg, server_leg, ("::1", 1, 0, 0), route, 1, self.loop.time())
        self.plane.dial(self.session.server)
        self.plane.start(self.session.server, plane_module.IN)
        self.random = 0

    def data(self, size: int) -> bytes:
        self.random += 1
        return (self.random.to_bytes(4, "big") * (size // 4 + 1))[:size]

    def other(self, side: str) -> Peer:
        return self.peers["server" if side == "client" else "client"]

    @rule(side=SIDES, size=SIZES)
    def send(self, side: str, size: int) -> None:
        peer = self.peers[side]
        if peer.alive and not peer.ended:
            peer.send(self.data(size))

    @rule(side=SIDES)
    def send_urgent(self, side: str) -> None:
        """One at a time: a second would take the first one's mark, also without a relay."""
        peer, other = self.peers[side], self.other(side)
        passed = not peer.marks or len(other.got) > peer.marks[-1]
        if peer.alive and not peer.ended and passed:
            peer.send(b"!", socket.MSG_OOB)

    @rule(side=SIDES)
    def finish(self, side: str) -> None:
        peer = self.peers[side]
        if peer.alive and not peer.ended:
            with contextlib.suppress(OSError):
                peer.sock.shutdown(socket.SHUT_WR)
                peer.ended = True

    @rule(side=SIDES)
    def abort(self, side: str) -> None:
        peer = self.peers[side]
        if peer.alive and not (peer.ended and self.other(side).ended):
            peer.acknowledged = len(peer.sent) - unacknowledged(peer.sock.fileno())
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.sock.close()
            peer.reset = True

    @rule(side=SIDES, size=SIZES)
    def read(self, side: str, size: int) -> None:
        peer = self.peers[side]
        if peer.alive and not peer.saw:
            peer.read(size)

    @rule()
    def turn(self) -> None:
        self.loop.run_until_complete(asyncio.sleep(0))

    @rule()
    def wait(self) -> None:
        self.loop.run_until_complete(asyncio.sleep(0.001))

    def until(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 20
        while not done():
            assert time.monotonic() < deadline, what
            self.loop.run_until_complete(asyncio.sleep(0.0005))

    def teardown(self) -> None:
        try:
            if hasattr(self, "peers"):
                self.check()
        finally:
            if hasattr(self, "peers"):
                for peer in self.peers.values():
                    peer.sock.close()
                self.plane.end(self.session, "over", reset=True)
            self.plane.close()
            self.loop.close()
            plane_module.TURNS = 16

    def check(self) -> None:
        client, server = self.peers.values()
        for peer in (client, server):
            if peer.alive:
                self.until(partial(self.drained, peer), "a peer did not get everything")
        for peer, other in ((client, server), (server, client)):
            assert other.sent.startswith(peer.got), "octets that were never sent, or out of order"
            if other.reset and not peer.reset:
                assert len(peer.got) >= other.acknowledged, "octets before a reset were lost"
            met = [mark for mark in other.marks if mark < len(peer.got)]
            if peer.marks_met != met:
                assert set(peer.marks_met) <= set(met)
                assert peer.reset or other.reset, "a mark was lost"
            if not peer.reset and not other.reset:
                assert peer.got == other.sent
                assert (peer.saw == "end") == other.ended
        if client.reset or server.reset:
            self.until(lambda: bool(self.over), "the session did not end")
        elif client.ended and server.ended:
            self.until(lambda: bool(self.over), "the session did not end")
            assert self.session.end == "closed"
        else:
            assert self.session.end is None

    def drained(self, peer: Peer) -> bool:
        """Whether *peer* has all that a single connection would give it."""
        other = self.peers["server"] if peer is self.peers["client"] else self.peers["client"]
        if not peer.saw:
            peer.read(1 << 18)
        peer.look()
        if other.reset:
            if peer.saw == "reset":
                return True
            assert peer.saw != "end" or other.ended, "a reset looked like a clean end"
            return peer.saw == "end" and peer.ended  # a connection that is over is not reset
        assert peer.saw != "reset", "a reset that nobody sent"
        return len(peer.got) == len(other.sent) and bool(peer.saw) == other.ended


TestPlaneMachine = PlaneMachine.TestCase
TestPlaneMachine.settings = settings(
    max_examples=200,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)

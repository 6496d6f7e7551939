"""An upgrade under load: sessions of every kind in transfer, none of which loses a byte.

FAITH_UPGRADE_SESSIONS says how many there are; the output has the longest pause.
"""

from __future__ import annotations

import asyncio
import contextlib
import ftplib
import os
import random
import resource
import select
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
import uvloop

from faith.lab.topology import PREFIX
from tests.faithd import Faithd
from tests.netns.connections import SYN_SENT, count
from tests.netns.ftp_server import FtpServer
from tests.netns.load import PORT, Load, connections
from tests.netns.way import outward

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faith.lab import Host, ThreeHosts
    from tests.netns.conftest import Fork

pytestmark = pytest.mark.netns

SESSIONS = int(os.environ.get("FAITH_UPGRADE_SESSIONS", "500"))
SLOW_PORT = 2324
BULK = 4
"""Of the sessions, those that send as fast as they can."""
DIALLING = 3
PINGED = 16
"""Of the sessions, those on which a process of its own measures how long one stands still."""
FILE = random.Random(21).randbytes(2_000_000)
BEFORE, AFTER = 1.0, 2.0
"""Seconds of load before the upgrade, and after it."""


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Both ends of every session are in this process."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * SESSIONS + 1000
    if most < wanted:
        pytest.skip(f"it takes {wanted} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


class Pings:
    """Round trips on *pairs*, one after the other, in a process that does nothing else."""

    def __init__(self, fork: Fork, pairs: list[tuple[socket.socket, socket.socket]]) -> None:
        self._pairs = pairs
        self._told, self._tell = os.pipe()
        self._child = fork(self._measure)

    def _measure(self, report: Callable[[object], None]) -> list[tuple[float, float]]:
        """When each began, and the seconds it took; until `stop`."""
        found = []
        while not select.select([self._told], [], [], 0.002)[0]:
            for client, server in self._pairs:
                begun = time.monotonic()
                for one, other in ((client, server), (server, client)):
                    one.sendall(b"ping")
                    assert other.recv(100) == b"ping"
                found.append((begun, time.monotonic() - begun))
        return found

    def stop(self) -> list[tuple[float, float]]:
        """What was measured."""
        os.write(self._tell, b"1")
        found: list[tuple[float, float]] = self._child.report()
        for descriptor in (self._told, self._tell):
            os.close(descriptor)
        for sock in (sock for pair in self._pairs for sock in pair):
            sock.close()
        return found


class SlowServer:
    """One whose backlog is full: it answers none of the dials that come, until it accepts."""

    def __init__(self, lab: ThreeHosts) -> None:
        self._lab = lab
        self._listener = lab.server.call(lambda: socket.create_server(("", SLOW_PORT), backlog=0))
        self._fill = lab.server.call(socket.create_connection, ("127.0.0.1", SLOW_PORT), 5)
        self.clients: list[socket.socket] = []

    def dial(self) -> None:
        """Have clients wait for it."""
        with self._lab.client.inside():
            address = self._lab.mapped(), SLOW_PORT
            self.clients = [socket.create_connection(address, 5) for _ in range(DIALLING)]

    def answer(self) -> None:
        """Accept now: what the clients have said meanwhile is there."""
        for client in self.clients:
            client.sendall(b"patience")
        self._listener.settimeout(40)  # SYNs are sent after 1, 3, 7, 15, 31 s
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._listener)
            stack.enter_context(self._fill)
            stack.enter_context(self._listener.accept()[0])
            for client in self.clients:
                stack.enter_context(client)
                server = stack.enter_context(self._listener.accept()[0])
                server.settimeout(20)
                assert server.recv(100) == b"patience"


class Fetch(threading.Thread):
    """An FTP client that takes a file slowly, and another one with the same control connection."""

    def __init__(self, lab: ThreeHosts, *, passive: bool) -> None:
        super().__init__()
        self._lab = lab
        self._passive = passive
        self.fetched: list[bytes] = []
        self.begun = threading.Event()

    def run(self) -> None:
        with self._lab.client.inside(), ftplib.FTP(timeout=20) as ftp:
            ftp.connect(self._lab.mapped(), 21)
            ftp.login("me", "secret")
            ftp.set_pasv(self._passive)
            for delay in (0.02, 0.0):
                pieces: list[bytes] = []
                ftp.retrbinary("RETR file", self._slowly(pieces, delay), 16_384)
                self.fetched.append(b"".join(pieces))

    def _slowly(self, pieces: list[bytes], delay: float) -> Callable[[bytes], None]:
        def take(piece: bytes) -> None:
            pieces.append(piece)
            self.begun.set()
            time.sleep(delay)  # time: a client that takes it slowly

        return take


async def play(
    gateway: Host,
    load: Load,
    pairs: list[tuple[socket.socket, socket.socket]],
    faithd: Faithd,
    slow: SlowServer,
) -> None:
    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        for number, pair in enumerate(pairs):
            kind = load.bulk if number < BULK else load.kinds[number % len(load.kinds)]
            group.create_task(kind(*pair, random.Random(number)))
        await asyncio.sleep(BEFORE)  # time: what is usual, to compare with
        slow.dial()
        while count(gateway, SYN_SENT, port=SLOW_PORT) < DIALLING:  # noqa: ASYNC110
            await asyncio.sleep(0.005)  # poll: their dials
        begun = time.monotonic()
        faithd.signal(signal.SIGUSR2)
        while "upgraded to program 2" not in faithd.said:  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # poll: the end of the upgrade
        load.upgraded = begun, time.monotonic()
        await asyncio.sleep(AFTER)  # time: load on the new program
        load.over.set()


def tell(load: Load, pings: list[tuple[float, float]]) -> None:
    begun, ended = load.upgraded
    usual = [took for at, took in pings if at + took < begun]
    meanwhile = [took for at, took in pings if at + took >= begun and at <= ended]
    print(
        f"{SESSIONS} sessions, {load.moved / 1e6:.0f} MB: upgraded in {ended - begun:.2f} s;"
        f" longest round trip meanwhile {1000 * max(meanwhile):.0f} ms,"
        f" before {1000 * max(usual):.0f} ms"
    )


@pytest.mark.usefixtures("many_descriptors")
def test_no_byte_and_no_session_is_lost(lab: ThreeHosts, tmp_path: Path, fork: Fork) -> None:
    faithd = Faithd(
        lab.gateway,
        tmp_path / "log",
        "--connect-timeout",
        "60",
        "-P",
        PREFIX,
        f"21,{PORT},{SLOW_PORT}",
    )
    faithd.wait_said("serving")
    ftp = FtpServer(lab.server)
    ftp.files["file"] = FILE
    slow = SlowServer(lab)
    way = outward(lab, PORT)
    pings = Pings(fork, connections(way, PINGED, blocking=True))
    fetches = [Fetch(lab, passive=passive) for passive in (True, True, False)]
    for fetch in fetches:
        fetch.start()
        assert fetch.begun.wait(10)
    pairs = connections(way, SESSIONS)
    loop = uvloop.new_event_loop()
    load = Load()
    loop.run_until_complete(play(lab.gateway, load, pairs, faithd, slow))
    loop.close()
    tell(load, pings.stop())
    for sock in (sock for pair in pairs for sock in pair):
        sock.close()
    slow.answer()
    for fetch in fetches:
        fetch.join(60)
        assert fetch.fetched == [FILE, FILE]
    ftp.close()
    faithd.wait_said("end=closed", SESSIONS + PINGED, seconds=30)
    assert faithd.stop(20) == 0
    ends = {line.partition("end=")[2] for line in faithd.said.splitlines() if "end=" in line}
    assert ends == {"closed"}

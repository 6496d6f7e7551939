"""Many FTP sessions at once, each with a transfer: no octet is lost, none is another's."""

from __future__ import annotations

import ftplib
import hashlib
import io
import os
import random
import threading
from typing import TYPE_CHECKING

import pytest

from faith.lab import wait_until
from tests.faithd import Faithd
from tests.netns.ftp_server import FtpServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from faith.lab import ThreeHosts

SESSIONS = int(os.environ.get("FAITH_FTP_SESSIONS", "100"))
"""How many at once: docs/benchmarks.rst has a run with 1,000."""
SECONDS = 30 + SESSIONS / 5
BODY = random.Random(21).randbytes(1_000_003)

pytestmark = [pytest.mark.netns, pytest.mark.timeout(2 * SECONDS)]


def file(number: int) -> bytes:
    """Of a million octets, and like no other's."""
    return number.to_bytes(8, "big") + BODY[number:]


class Files(dict[str, bytes]):
    """Files that are made when they are fetched."""

    def __missing__(self, name: str) -> bytes:
        return file(int(name))


@pytest.fixture
def server(lab: ThreeHosts, all_descriptors: None) -> Iterator[FtpServer]:
    """A server in this process, which has the ends of all sessions."""
    made = FtpServer(lab.server)
    made.files = Files()
    yield made
    made.close()


class Visitors:
    """Everyone is logged in before anyone transfers.

    A third is in passive mode, a third in active mode, and a third behind what the gateway takes
    for encryption; every second one sends, the others fetch.
    """

    def __init__(self, lab: ThreeHosts, server: FtpServer) -> None:
        self.lab = lab
        self.server = server
        self.good: list[int] = []
        self.failed: list[str] = []
        self.everyone = threading.Barrier(SESSIONS)

    def run(self) -> None:
        threads = [threading.Thread(target=self.visit, args=(n,)) for n in range(SESSIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)

    def visit(self, number: int) -> None:
        try:
            with self.lab.client.inside(), ftplib.FTP(timeout=SECONDS) as connection:
                connection.connect(self.lab.mapped(), 21)
                connection.login("me", "secret")
                if number % 3 == 2:
                    connection.sendcmd("AUTH TLS")
                connection.set_pasv(number % 3 != 1)
                self.everyone.wait(SECONDS)
                self.transfer(connection, number)
        except (OSError, EOFError, ftplib.Error, threading.BrokenBarrierError) as error:
            self.failed.append(f"{number}: {error!r}")
        else:
            self.good.append(number)

    def transfer(self, connection: ftplib.FTP, number: int) -> None:
        if number // 3 % 2:
            connection.storbinary(f"STOR {number}", io.BytesIO(file(number)), 1 << 16)
            come = hashlib.sha256(self.server.files[str(number)])
        else:
            come = hashlib.sha256()
            connection.retrbinary(f"RETR {number}", come.update, 1 << 16)
        if come.digest() != hashlib.sha256(file(number)).digest():
            raise OSError("the file is not as it was")


def descriptors(faithd: Faithd) -> int:
    return sum(len(os.listdir(f"/proc/{worker}/fd")) for worker in faithd.workers)


def test_all_at_once_and_nothing_left(lab: ThreeHosts, server: FtpServer, tmp_path: Path) -> None:
    faithd = Faithd(lab.gateway, tmp_path / "log", "-P", lab.prefix, "ftp")
    faithd.wait_said("serving")
    before = descriptors(faithd)
    visitors = Visitors(lab, server)
    visitors.run()
    assert visitors.failed == []
    assert sorted(visitors.good) == list(range(SESSIONS))
    ended = 2 * SESSIONS
    wait_until(lambda: faithd.said.count("end=closed") == ended, 10, f"{ended} records")
    # Sockets in stock, the listeners for what is encrypted, and pipes.
    wait_until(lambda: descriptors(faithd) <= before + 24, 10, "descriptors given back")
    assert faithd.stop() == 0

"""Control connections of peers that do anything, in any order: nothing breaks, nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
from typing import TYPE_CHECKING

import pytest

from faith.relay.alg import control_connection as control_module
from faith.relay.tcp import resets
from tests.control_bench import Bench, Peer
from tests.test_ftp_streams import LINES, SCRAPS

if TYPE_CHECKING:
    from collections.abc import Iterator

SEEDS = 40
SESSIONS = 4
"""At a time, for each seed."""
STEPS = 150
SMALL = 2048


@pytest.fixture
def bench() -> Iterator[Bench]:
    loop = asyncio.new_event_loop()
    made = Bench(loop, SMALL, slow=True)
    yield made
    made.close()
    loop.close()


class Wild:
    """A peer that says and does anything, by *chance*."""

    def __init__(self, peer: Peer, chance: random.Random) -> None:
        self.peer = peer
        self.chance = chance

    def act(self) -> None:
        if self.peer.sock.fileno() < 0:
            return
        chance = self.chance.random()
        if chance < 0.55:
            self.peer.say(self._words(), socket.MSG_OOB if chance < 0.05 else 0)
        elif chance < 0.95:
            self.peer.listen(self.chance.choice([1, 100, 10_000]))
        elif chance < 0.96:
            self.peer.reset()
        elif chance < 0.97:
            self.peer.sock.close()
        elif chance < 0.98 and not self.peer.end:
            with contextlib.suppress(OSError):
                self.peer.sock.shutdown(socket.SHUT_WR)

    def _words(self) -> bytes:
        words = self.chance.choice([*LINES, *SCRAPS, self.chance.randbytes(9), b"x" * 3000])
        return (
            words[: self.chance.randrange(len(words)) + 1] if self.chance.random() < 0.2 else words
        )


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for long."""
    monkeypatch.setattr(control_module, "LINGER", 0.05)
    monkeypatch.setattr(control_module, "PATIENCE", 0.02)
    monkeypatch.setattr(resets, "QUIET", 0.05)


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.usefixtures("hasty")
def test_anything_goes(bench: Bench, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    chance = random.Random(seed)
    started = [bench.session() for _ in range(SESSIONS)]
    peers = [Wild(peer, chance) for client, server, _ in started for peer in (client, server)]
    for _ in range(STEPS):
        for peer in peers:
            peer.act()
        bench.turn()
    for peer in peers:
        peer.peer.sock.close()
    sessions = {session for _, _, session in started}
    bench.until(lambda: sessions <= set(bench.ended) | set(bench.plane.sessions()))
    bench.until(lambda: not bench.plane.sessions() or sessions <= set(bench.ended))
    assert not bench.ftp.sessions()
    ends = {session.end for session in sessions}
    assert "defect" not in ends
    assert not [one for one in caplog.records if one.levelno > logging.WARNING]
    assert len(caplog.records) <= 8 * SESSIONS, "a session fills the log"


class Plain:
    """A peer that says lines the ALG has no part in, and then ends as *how* has it."""

    def __init__(self, peer: Peer, text: bytes, how: str, chance: random.Random) -> None:
        self.peer = peer
        self.text = text
        self.how = how
        self.chance = chance
        self.said = 0
        self.ended = False

    def act(self) -> None:
        self.peer.listen(self.chance.choice([0, 10, 1000]))
        if self.said < len(self.text):
            size = self.chance.choice([1, 7, 100, 3000])
            self.said += self.peer.say(self.text[self.said : self.said + size])
        elif not self.ended and self.peer.arrived():
            self.ended = True
            if self.how == "FIN":
                self.peer.sock.shutdown(socket.SHUT_WR)
            elif self.how == "RST":
                self.peer.reset()


COMMANDS = [b"USER me\r\n", b"SITE \xff\xffx\r\n", b"PWD\n", b"RETR " + b"y" * 500 + b"\r\n"]
REPLIES = [b"200 ok\r\n", b"230-Hello\r\n there\r\n230 you\r\n", b"a warning\r\n", b"500 what?\n"]


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("ends", [("FIN", "FIN"), ("RST", ""), ("", "RST")], ids=str)
def test_plain_talk_arrives_whole_and_then_its_end(
    bench: Bench, ends: tuple[str, str], seed: int
) -> None:
    """As by a single connection: all of it, and then FIN or RST."""
    chance = random.Random(seed)

    def some(lines: list[bytes], last: bytes) -> bytes:
        said = b"".join(chance.choices(lines, k=chance.choice([0, 1, 20, 200])))
        return said + chance.choice([b"", last])

    client, server, session = bench.session()
    commands = Plain(client, some(COMMANDS, b"QUIT"), ends[0], chance)
    replies = Plain(server, some(REPLIES, b"421 bye"), ends[1], chance)
    directions = [(commands, server), (replies, client)]
    heard = [(speaker, hearer) for speaker, hearer in directions if speaker.how]

    def over() -> bool:
        for peer in (commands, replies):
            if peer.peer.sock.fileno() >= 0:
                peer.act()
        return all(speaker.ended and hearer.end for speaker, hearer in heard)

    bench.until(over)
    for speaker, hearer in heard:
        assert hearer.heard == speaker.text
        assert hearer.end == speaker.how
    for peer in (client, server):
        peer.sock.close()
    bench.until(lambda: session in bench.ended)
    assert session.end != "defect"

"""An FTP control connection on real sockets: what came before an end goes on before that end."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from typing import TYPE_CHECKING

import pytest
import uvloop

from faith.lab import wait_until
from faith.relay.alg import control_connection as control_module
from faith.relay.tcp import resets
from tests.control_bench import Bench, Peer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.relay.tcp.session import Session

SMALL = 2048
HELLO = b"220 Hello\r\n"
EPRT = b"EPRT |2|::1|5282|\r\n"
PORT = b"PORT 127,0,0,1,"


@pytest.fixture(params=["uvloop", "asyncio"])
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop]:
    made = uvloop.new_event_loop() if request.param == "uvloop" else asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture
def bench(loop: asyncio.AbstractEventLoop) -> Iterator[Bench]:
    made = Bench(loop)
    yield made
    made.close()


@pytest.fixture
def narrow(loop: asyncio.AbstractEventLoop) -> Iterator[Bench]:
    made = Bench(loop, SMALL)
    yield made
    made.close()


def greeted(bench: Bench) -> tuple[Peer, Peer, Session]:
    """A session of which the client has heard the greeting."""
    client, server, session = bench.session()
    bench.tell(server, HELLO)
    bench.hears(client, HELLO)
    return client, server, session


def end(peer: Peer, how: str) -> None:
    if how == "RST":
        peer.reset()
    else:
        peer.sock.shutdown(socket.SHUT_WR)


ends = pytest.mark.parametrize("how", ["FIN", "RST"])


# -- what came before the end --------------------------------------------------------------------


@ends
def test_the_last_line_of_a_server(bench: Bench, how: str) -> None:
    client, server, session = bench.session()
    bench.tell(server, b"421 Too many users, bye")
    end(server, how)
    assert bench.hear(client) == (b"421 Too many users, bye", how)
    client.sock.close()
    bench.until(lambda: session in bench.ended)
    assert session.end == ("server reset" if how == "RST" else "closed")


@ends
@pytest.mark.parametrize(
    ("said", "heard"),
    [(b"QUIT", b"QUIT"), (b"PWD\r\nAUTH TLS", b"PWD\r\nAUTH TLS"), (b"EPSV", b"PASV\r\n")],
)
def test_the_last_line_of_a_client(bench: Bench, how: str, said: bytes, heard: bytes) -> None:
    client, server, session = greeted(bench)
    bench.tell(client, said)
    end(client, how)
    assert bench.hear(server) == (heard, how)
    server.sock.close()
    bench.until(lambda: session in bench.ended)


@ends
@pytest.mark.parametrize("size", [1, 1000, 60_000, 1_000_000])
def test_much_from_a_server(bench: Bench, how: str, size: int) -> None:
    client, server, _ = bench.session()
    text = HELLO + b"x" * size
    bench.tell(server, text)
    end(server, how)
    assert bench.hear(client) == (text, how)


@ends
def test_much_from_a_client(bench: Bench, how: str) -> None:
    client, server, _ = bench.session()
    text = b"SITE x\r\n" * 10_000
    bench.tell(client, text)
    end(client, how)
    assert bench.hear(server) == (text, how)


@ends
def test_what_the_other_is_slow_to_take(narrow: Bench, how: str) -> None:
    client, server, _ = narrow.session()
    text, said = b"220-" + b"x" * 100_000, 0
    while said < len(text):
        said += server.say(text[said:])
        narrow.turn()
        client.listen(1000)
    end(server, how)
    narrow.turn(0.05)
    assert not client.end
    assert len(client.heard) < len(text)
    assert narrow.hear(client) == (text, how)


def test_when_a_write_finds_it_reset(narrow: Bench) -> None:
    """The server's last words wait for a client that is slow, and does not stop to talk."""
    client, server, session = narrow.session()
    text = b"220-" + b"x" * 20_000
    said = 0
    while said < len(text):
        said += server.say(text[said:])
        narrow.turn()
        client.listen(500)
    server.reset()
    client.say(b"USER me\r\n")
    narrow.turn(0.02)
    client.say(b"PASS x\r\n")
    narrow.turn(0.02)
    assert session.end is None
    assert narrow.hear(client) == (text, "RST")
    assert session.end == "server reset"


def test_what_a_client_said_in_advance(bench: Bench) -> None:
    client, server, session = greeted(bench)
    bench.tell(client, b"EPSV\r\nDELE a\r\nQUIT")
    bench.hears(server, b"PASV\r\n")
    client.reset()
    bench.turn(0.02)
    bench.tell(server, b"502 Never\r\n")
    assert bench.hear(server) == (b"DELE a\r\nQUIT", "RST")
    assert session.end == "client reset"


def test_a_reset_waits_for_the_others_acknowledgement(narrow: Bench) -> None:
    client, server, session = narrow.session()
    text = b"220 " + b"x" * 3000
    said = 0
    while said < len(text):
        said += server.say(text[said:])
        narrow.turn()
    server.reset()
    narrow.turn(0.1)
    assert session.end is None
    assert narrow.hear(client) == (text, "RST")


def test_but_not_forever(narrow: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resets, "QUIET", 0.05)
    _, server, session = narrow.session()
    text = b"220 " + b"x" * 10_000
    said = 0
    while said < len(text):
        if not (now := server.say(text[said:])):
            break
        said += now
        narrow.turn(0.01)
    server.reset()
    narrow.until(lambda: session in narrow.ended)
    assert session.end == "server reset"


def test_a_server_that_is_reset_instead_of_a_reply(bench: Bench) -> None:
    client, server, session = greeted(bench)
    bench.tell(client, b"EPSV\r\nPWD\r\n")
    bench.hears(server, b"PASV\r\n")
    bench.tell(server, b"227-Entering\r\n")
    server.reset()
    assert bench.hear(client) == (b"", "RST")
    assert session.end == "server reset"


def test_a_fin_and_then_a_reset(bench: Bench) -> None:
    client, server, session = greeted(bench)
    bench.tell(server, b"421 Bye")
    server.sock.shutdown(socket.SHUT_WR)
    assert bench.hear(client) == (b"421 Bye", "FIN")
    assert session.end is None
    server.reset()
    bench.until(lambda: session in bench.ended)
    assert session.end == "server reset"
    client.end = ""
    client.say(b"QUIT\r\n")
    assert bench.hear(client)[1] == "RST"


def test_a_server_that_was_reset_before_it_was_ours(bench: Bench) -> None:
    """As the relay has it whose connect(2) ended so: the error is in the leg."""
    client, server, session = bench.session(wait=True)
    server.say(b"421 Too many users, bye")
    server.reset()

    def failed() -> bool:
        error = session.server.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        session.server.error = error
        return bool(error)

    wait_until(failed, 5, "the reset")
    bench.ftp.take_over(session)
    assert bench.hear(client) == (b"421 Too many users, bye", "RST")


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_refusal_for_somebody_who_was_sent_a_fin(bench: Bench, who: str) -> None:
    """Telnet negotiation of the last to speak, after the other has ended."""
    client, server, session = greeted(bench)
    first, last = (client, server) if who == "client" else (server, client)
    first.sock.shutdown(socket.SHUT_WR)
    assert bench.hear(last) == (b"", "FIN")
    bench.tell(last, b"\xff\xfd\x18" + b"221 Bye\r\n")
    last.sock.shutdown(socket.SHUT_WR)
    assert bench.hear(first) == (b"221 Bye\r\n", "FIN")
    bench.until(lambda: session in bench.ended)
    assert session.end == "closed"


def test_both_are_reset(bench: Bench) -> None:
    client, server, session = greeted(bench)
    client.reset()
    server.reset()
    bench.until(lambda: session in bench.ended)
    assert session.end in ("client reset", "server reset")


def test_a_last_reply_to_a_client_that_has_more_to_say(bench: Bench) -> None:
    """Nobody reads what it says; closing at once would take the reply back."""
    client, server, session = greeted(bench)
    bench.tell(client, b"EPSV\r\n")
    bench.hears(server, b"PASV\r\n")
    bench.tell(client, b"NOOP\r\n" * 10)
    bench.tell(server, b"421-No\r\n")
    server.sock.close()
    assert bench.hear(client) == (b"421-No\r\n", "FIN")
    assert session.end is None
    client.sock.close()
    bench.until(lambda: session in bench.ended)
    assert session.end == "closed"


def test_who_does_not_hang_up_either_is_cut(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(control_module, "LINGER", 0.05)
    client, server, session = greeted(bench)
    bench.tell(client, b"EPSV ALL\r\n")
    bench.tell(server, b"331 What?\r\n")
    bench.until(lambda: session in bench.ended)
    assert session.end == "out of step"
    assert bench.hear(client)[0].startswith(b"421 ")
    assert "no reply to NOOP in its place" in caplog.text


@pytest.mark.parametrize("who", ["client", "server"])
def test_who_is_gone_when_we_hang_up(
    bench: Bench, who: str, caplog: pytest.LogCaptureFixture
) -> None:
    client, server, session = greeted(bench)
    bench.tell(client, b"EPSV ALL\r\n")
    bench.hears(server, b"NOOP\r\n")
    server.say(b"331 What?\r\n")
    (client if who == "client" else server).reset()
    bench.turn(0.02)
    for peer in (client, server):
        if peer.sock.fileno() >= 0:
            bench.hear(peer)
            peer.sock.close()
    bench.until(lambda: session in bench.ended)
    assert "defect" not in caplog.text


@pytest.mark.parametrize("who", ["client", "server"])
def test_who_is_not_read_costs_nothing(
    bench: Bench, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that goes on while a reply is awaited, or a peer that has ended."""
    client, server, _ = greeted(bench)
    bench.tell(client, b"EPSV\r\n")
    bench.hears(server, b"PASV\r\n")
    if who == "client":
        bench.tell(client, b"NOOP\r\n" * 10)
    else:
        bench.tell(client, b"QUIT\r\n")
        server.sock.shutdown(socket.SHUT_WR)
    bench.turn(0.05)
    heard: list[int] = []
    monkeypatch.setattr(control_module.Control, "_hear", lambda *what: heard.append(1))
    bench.turn(0.05)
    assert not heard


@pytest.mark.parametrize("who", ["client", "server"])
def test_what_cannot_go_on_is_not_read(narrow: Bench, who: str) -> None:
    """A client while a reply is awaited, a server while the client takes nothing."""
    client, server, _ = greeted(narrow)
    if who == "client":
        narrow.tell(client, b"EPSV\r\n")
        narrow.hears(server, b"PASV\r\n")
    speaker = client if who == "client" else server
    said = idle = 0
    while idle < 20:
        now = speaker.say(b"NOOP\r\n" * 500)
        said += now
        idle = 0 if now else idle + 1
        narrow.turn(0.001)
        assert said < 100_000, "it is kept in memory"


# -- ends of encrypted ones ----------------------------------------------------------------------


@ends
def test_what_follows_auth(bench: Bench, how: str) -> None:
    bench.slow = True
    client, server, _ = greeted(bench)
    bench.tell(client, b"AUTH TLS\r\n\x16\x03")
    bench.hears(server, b"AUTH TLS\r\n")
    bench.tell(server, b"234 Go\r\n\x16\x03 half a record")
    bench.hears(server, b"\x16\x03")
    bench.hears(client, b"234 Go\r\n\x16\x03 half a record")
    bench.tell(server, b"bye")
    bench.hears(client, b"bye")
    end(client, how)
    assert bench.hear(server) == (b"", how)


def test_a_client_lost_before_it_hears_that_it_is_encrypted(bench: Bench) -> None:
    bench.slow = True
    client, server, session = greeted(bench)
    bench.tell(client, b"AUTH TLS\r\n")
    bench.hears(server, b"AUTH TLS\r\n")
    bench.tell(client, b"\x16\x03")
    client.reset()
    bench.tell(server, b"234 Go\r\n")
    assert bench.hear(server) == (b"\x16\x03", "RST")
    assert session.end == "client reset"


# -- replies that may have passed ----------------------------------------------------------------


def test_a_server_that_is_silent_when_in_doubt(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_module, "PATIENCE", 0.05)
    client, server, _ = greeted(bench)
    bench.tell(client, b"SITE silence\r\n" + EPRT + b"RETR a\r\n")

    def told() -> bool:
        server.listen()
        return PORT in server.heard

    bench.until(told)
    server.heard = b""
    bench.tell(server, b"200 PORT it is\r\n")
    bench.hears(client, b"200 PORT it is\r\n")
    bench.hears(server, b"RETR a\r\n")


def test_what_has_come_while_we_stood_still_is_no_silence(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_module, "PATIENCE", 0.05)
    client, server, _ = greeted(bench)
    bench.tell(client, b"SITE slow\r\nEPSV ALL\r\n")
    bench.hears(server, b"SITE slow\r\nNOOP\r\n")
    server.say(b"200 slow\r\n")
    bench.hears(client, b"200 slow\r\n")
    server.say(b"200 ok\r\n")
    time.sleep(0.1)
    bench.hears(client, b"504 Command not implemented for that parameter\r\n")
    bench.tell(client, b"PWD\r\n")
    bench.tell(server, b"257 here\r\n")
    bench.hears(client, b"257 here\r\n")


def test_one_that_is_not_in_doubt_is_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_module, "PATIENCE", 0.01)
    client, server, _ = greeted(bench)
    bench.tell(client, b"EPSV ALL\r\n")
    bench.hears(server, b"NOOP\r\n")
    bench.turn(0.1)
    bench.tell(server, b"200 ok\r\n")
    bench.hears(client, b"504 Command not implemented for that parameter\r\n")


# -- in another process --------------------------------------------------------------------------


def move(bench: Bench, session: Session) -> None:
    """Hand the control connection over, to another ALG of the same process."""
    assert bench.ftp.movable() == [session]
    state, descriptors = bench.ftp.hand_over(session)
    bench.ftp = bench.new_ftp()
    bench.ftp.resume(session, json.loads(json.dumps(state)), iter(descriptors))


@ends
def test_half_a_line_is_handed_over(bench: Bench, how: str) -> None:
    client, server, session = greeted(bench)
    bench.tell(server, b"421 Too")
    bench.turn(0.01)
    bench.tell(client, b"QU")
    bench.turn(0.01)
    move(bench, session)
    bench.tell(server, b" many")
    bench.tell(client, b"IT\r\n")
    bench.hears(server, b"QUIT\r\n")
    end(server, how)
    assert bench.hear(client) == (b"421 Too many", how)


def test_half_a_reply_that_tells_a_port_is_handed_over(bench: Bench) -> None:
    client, server, session = greeted(bench)
    bench.tell(client, b"EPSV\r\n")
    bench.hears(server, b"PASV\r\n")
    bench.tell(server, b"227-Entering\r\n227 (1,2,3,4")
    bench.turn(0.01)
    move(bench, session)
    bench.tell(server, b",200,1)\r\n")

    def told() -> bool:
        client.listen()
        return client.heard.endswith(b"\n")

    bench.until(told)
    assert client.heard.startswith(b"229 ")
    move(bench, session)
    with socket.create_connection(("::1", int(client.heard.split(b"|")[3])), 5):
        bench.until(lambda: bool(bench.begun))
    assert bench.begun[0].port == 51201


def test_a_synch_is_handed_over(narrow: Bench) -> None:
    """IAC IP, DM, of which the octet before DM is urgent, while the server takes nothing."""
    client, server, session = greeted(narrow)
    said = 0
    while now := client.say(b"SITE %06d\r\n" % said):
        said += now
        narrow.turn()
    whole = said // 13 * 13
    client.say((b"SITE %06d\r\n" % whole)[said - whole :] if said > whole else b"")
    narrow.turn(0.01)
    move(narrow, session)
    narrow.turn(0.01)
    server.sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)

    def drained() -> bool:
        server.listen()
        return client.arrived() and len(server.heard) >= whole

    narrow.until(drained)
    narrow.turn(0.01)
    server.listen()
    server.heard = b""
    client.say(b"\xff\xf4\xff", socket.MSG_OOB)
    narrow.turn(0.01)
    move(narrow, session)
    client.say(b"\xf2ABOR\r\n")
    narrow.hears(server, b"\xff\xf4\xff\xf2ABOR\r\n")


def test_a_lost_peer_is_handed_over(narrow: Bench) -> None:
    client, server, session = narrow.session()
    text, said = b"220-" + b"x" * 20_000, 0
    while said < len(text):
        said += server.say(text[said:])
        narrow.turn()
        client.listen(500)
    server.reset()
    client.say(b"USER me\r\n")
    narrow.turn(0.02)
    move(narrow, session)
    assert narrow.hear(client) == (text, "RST")
    assert session.end == "server reset"


def test_one_that_hangs_up_is_handed_over(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_module, "LINGER", 0.1)
    client, server, session = greeted(bench)
    bench.tell(client, b"EPSV ALL\r\n")
    bench.tell(server, b"331 What?\r\n")
    bench.turn(0.02)
    move(bench, session)
    bench.until(lambda: session in bench.ended)
    assert session.end == "out of step"


@pytest.fixture(autouse=True)
def no_defect(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert not [record for record in caplog.records if record.levelno > logging.WARNING]

"""TLS of proxies' clients: real clients of TLS, and what comes out at the end of a worker."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from faith.kernel.sockets.tcp_sockets import listener, pause, resume
from faith.relay.proxy import tls_passage, tls_terminator
from faith.relay.proxy.passed_clients import Introduction, PassedClients, channel
from faith.relay.proxy.tls_terminator import TlsListener, TlsTerminator
from faith.relay.tcp.session_shares import SessionShares
from tests.certificates import certify
from tests.test_happy_dial import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.certificates import Certify

__all__ = ["certify"]

PROXY = ("::1", 1080)


class Bench:
    """A terminator, its clients, which are blocking in threads, and their other ends here."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.loop = uvloop.new_event_loop()
        self.certificate = certificate
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.receiving, self.sending = channel()
        self.came: list[tuple[Any, Introduction]] = []
        self.passed = PassedClients(self.receiving, lambda *one: self.came.append(one))
        self.shares = SessionShares()
        self.idled = 0
        self.terminator = TlsTerminator(self.loop, self.shares, self._idled)
        self.listener = listener("::1", 0, transparent=False)
        self.at = self.listener.getsockname()[:2]
        self.serve()
        self.sockets: list[Any] = []

    def _idled(self) -> None:
        self.idled += 1

    def serve(self) -> None:
        self.terminator.serve([TlsListener(self.listener, PROXY, self.context)], self.sending)

    def until(self, done: Callable[[], object]) -> None:
        until(self.loop, done)

    def raw(self) -> socket.socket:
        sock = socket.create_connection(self.at)
        self.sockets.append(sock)
        return sock

    def client(self, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLSocket:
        """Return a client whose handshake is done."""
        context = ssl.create_default_context(cafile=self.certificate)
        context.maximum_version = version
        raw = self.raw()
        found = self.meanwhile(
            lambda: context.wrap_socket(raw, server_hostname="::1", suppress_ragged_eofs=False)
        )
        self.sockets.append(found)
        assert isinstance(found, ssl.SSLSocket)
        found.settimeout(10)
        return found

    def inner(self) -> Any:
        """Return the end that has come for the next client."""

        def has_come() -> bool:
            self.passed(0)
            return bool(self.came)

        self.until(has_come)
        sock, self.introduction = self.came.pop(0)
        self.sockets.append(sock)
        return sock

    def meanwhile(self, does: Callable[[], Any]) -> Any:
        """Run the loop while a thread *does* something; return what comes of it."""
        outcome: list[Any] = []

        def run() -> None:
            try:
                outcome.append(does())
            except BaseException as error:  # noqa: BLE001
                outcome.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        self.until(lambda: outcome)
        thread.join()
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        return outcome[0]

    def hear(self, inner: Any, size: int = 1 << 30) -> bytes:
        """Return what comes of the inner end, *size* octets at most."""
        got = bytearray()

        def done() -> bool:
            with contextlib.suppress(BlockingIOError):
                while len(got) < size:
                    data = inner.recv(size - len(got))
                    if not data:
                        return True
                    got.extend(data)
            return len(got) == size

        self.until(done)
        return bytes(got)

    def say(self, inner: Any, data: bytes) -> None:
        view = memoryview(data)

        def done() -> bool:
            nonlocal view
            with contextlib.suppress(BlockingIOError):
                while view:
                    view = view[inner.send(view) :]
            return not view

        self.until(done)

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()
        self.terminator.close()
        for end in self.receiving, self.sending, self.listener:
            end.close()
        assert self.shares.taken == 0
        self.loop.close()


@pytest.fixture
def bench(certify: Certify) -> Iterator[Bench]:
    bench = Bench(*certify("proxy"))
    yield bench
    bench.close()


def read_all(client: ssl.SSLSocket) -> bytes:
    """Return what *client* gets up to the proxy's close_notify.  Raises SSLEOFError without."""
    got = b""
    while data := client.recv(65536):
        got += data
    return got


both = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


@both
def test_octets_pass_both_ways_and_so_do_ends(bench: Bench, version: ssl.TLSVersion) -> None:
    client = bench.client(version)
    inner = bench.inner()
    assert bench.introduction == (client.getsockname()[:2], bench.at, PROXY)
    up, down = os.urandom(3_000_000), os.urandom(3_000_000)
    sender = threading.Thread(target=client.sendall, args=(up,))
    sender.start()
    assert bench.hear(inner, len(up)) == up
    sender.join()
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(read_exactly(client, len(down))))
    reader.start()
    bench.say(inner, down)
    bench.until(lambda: got)
    reader.join()
    assert got[0] == down
    assert client.version() == {771: "TLSv1.2", 772: "TLSv1.3"}[version]


def read_exactly(client: ssl.SSLSocket, size: int) -> bytes:
    got = bytearray()
    while len(got) < size:
        data = client.recv(65536)
        assert data
        got += data
    return bytes(got)


@both
def test_a_server_that_ends_first(bench: Bench, version: ssl.TLSVersion) -> None:
    client = bench.client(version)
    inner = bench.inner()
    bench.say(inner, b"the answer")
    inner.shutdown(socket.SHUT_WR)
    assert bench.meanwhile(lambda: read_all(client)) == b"the answer"
    bench.meanwhile(lambda: client.sendall(b"the client goes on"))
    assert bench.hear(inner, 18) == b"the client goes on"
    bench.meanwhile(client.unwrap)
    assert bench.hear(inner) == b""
    bench.until(lambda: not bench.shares.taken)


@both
def test_a_client_that_ends_first(bench: Bench, version: ssl.TLSVersion) -> None:
    """By its close_notify; Python's unwrap() waits for ours."""
    client = bench.client(version)
    inner = bench.inner()
    bench.meanwhile(lambda: client.sendall(b"the question"))
    done: list[object] = []
    thread = threading.Thread(target=lambda: done.append(client.unwrap()))
    thread.start()
    assert bench.hear(inner) == b"the question"
    assert not done
    inner.shutdown(socket.SHUT_WR)
    bench.until(lambda: done)
    thread.join()
    bench.until(lambda: not bench.shares.taken)


def test_a_client_that_ends_without_goodbye(bench: Bench) -> None:
    client = bench.client()
    inner = bench.inner()
    bench.meanwhile(lambda: client.sendall(b"the question"))
    client.shutdown(socket.SHUT_WR)
    assert bench.hear(inner) == b"the question"
    bench.say(inner, b"the answer")
    inner.close()
    bench.until(lambda: not bench.shares.taken)


def test_a_cut_of_the_server_is_no_end(bench: Bench) -> None:
    client = bench.client()
    inner = bench.inner()
    bench.say(inner, b"half of it")
    inner.close()
    assert bench.meanwhile(lambda: client.recv(100)) == b"half of it"
    with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
        bench.meanwhile(lambda: client.recv(100))
    assert not bench.shares.taken


def test_a_reset_of_the_client_is_shown_behind_what_came_before(bench: Bench) -> None:
    client = bench.client()
    inner = bench.inner()
    bench.meanwhile(lambda: client.sendall(b"the last words"))
    raw = client.detach()
    with socket.socket(fileno=raw) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert bench.hear(inner) == b"the last words"
    with pytest.raises(BrokenPipeError):
        inner.send(b"x")


def test_nothing_is_read_for_which_there_is_no_room(bench: Bench) -> None:
    client = bench.client()
    inner = bench.inner()
    sent = 0

    def fill() -> bool:
        """Whether the socket takes no more for a while."""
        nonlocal sent
        with contextlib.suppress(BlockingIOError):
            while True:
                sent += inner.send(bytes(65536))
        return False

    for _ in range(50):
        fill()
        bench.loop.run_until_complete(_pause())
    (passage,) = bench.terminator._passages
    assert len(passage._to_client) < 200_000
    before = sent
    got = bench.meanwhile(lambda: read_exactly(client, before))
    assert got == bytes(before)


async def _pause() -> None:
    await asyncio.sleep(0.002)  # time: for what is not to come


@pytest.mark.parametrize("octets", [b"GET / HTTP/1.1\r\n\r\n", b"\5\1\0", b"\x16\3\1\0\5abcde"])
def test_what_is_no_tls(bench: Bench, octets: bytes) -> None:
    raw = bench.raw()
    inner = bench.inner()
    raw.sendall(octets)
    if octets == b"\5\1\0":
        raw.shutdown(socket.SHUT_WR)
    assert bench.hear(inner) == b""
    bench.until(lambda: not bench.shares.taken)


def test_a_client_that_waits_is_cut_with_its_worker(bench: Bench) -> None:
    """The time of a greeting is the worker's, who does not wait for handshakes either."""
    raw = bench.raw()
    inner = bench.inner()
    inner.close()
    raw.settimeout(10)
    assert bench.meanwhile(lambda: raw.recv(1)) == b""
    assert not bench.shares.taken


def test_a_client_that_takes_nothing_is_cut_in_the_end(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_passage, "PATIENCE", 0.2)
    client = bench.client()
    inner = bench.inner()
    for _ in range(50):
        with contextlib.suppress(BlockingIOError):
            while True:
                inner.send(bytes(65536))
        bench.loop.run_until_complete(_pause())
    inner.close()
    bench.until(lambda: not bench.shares.taken)
    client.close()


def test_a_certificate_of_the_client(bench: Bench, certify: Certify) -> None:
    certificate, key = certify("client")
    bench.context.verify_mode = ssl.CERT_REQUIRED
    bench.context.load_verify_locations(certificate)
    client = ssl.create_default_context(cafile=bench.certificate)
    client.load_cert_chain(certificate, key)
    raw = bench.raw()
    with bench.meanwhile(lambda: client.wrap_socket(raw, server_hostname="::1")) as sock:
        inner = bench.inner()
        bench.meanwhile(lambda: sock.sendall(b"certified"))
        assert bench.hear(inner, 9) == b"certified"
    without = ssl.create_default_context(cafile=bench.certificate)
    raw = bench.raw()

    def attempt() -> None:
        with without.wrap_socket(raw, server_hostname="::1") as sock:
            sock.recv(1)

    with pytest.raises(ssl.SSLError, match=r"CERTIFICATE_REQUIRED|certificate required"):
        bench.meanwhile(attempt)


def test_who_has_a_share_is_refused_more(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.shares.limit, bench.shares.half = 3, 1
    first = [bench.client(), bench.client()]
    raw = bench.raw()
    raw.settimeout(10)
    with pytest.raises(ConnectionResetError):
        bench.meanwhile(lambda: raw.recv(1))
    assert len(first) == 2


def test_a_paused_listener_accepts_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_terminator, "REST", 0.05)
    pause(bench.listener)
    for _ in range(10):
        bench.loop.run_until_complete(_pause())
    with pytest.raises(ConnectionRefusedError):
        bench.raw()
    resume(bench.listener, bench.at)
    bench.client()


def test_who_drains_goes_on_until_the_last_client_has_gone(bench: Bench) -> None:
    client = bench.client()
    inner = bench.inner()
    bench.terminator.serve((), None)
    bench.loop.run_until_complete(_pause())
    assert not bench.idled
    bench.meanwhile(lambda: client.sendall(b"still here"))
    assert bench.hear(inner, 10) == b"still here"
    inner.close()
    client.close()
    bench.until(lambda: bench.idled)


def test_nobody_receives_clients(bench: Bench) -> None:
    bench.receiving.close()
    raw = bench.raw()
    raw.settimeout(10)
    with pytest.raises(ConnectionResetError):
        bench.meanwhile(lambda: raw.recv(1))

"""The admin listener: what it does with clients that are none, and by TLS."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, cast

import pytest

from faith.daemon.config.listener_access import EVERYBODY, AdminAccess, TlsFiles
from faith.daemon.process.loop import Loop
from faith.daemon.process.messages import pair
from faith.daemon.services import admin
from faith.daemon.services.admin import CLIENTS, Admin, Visits, _listening, _serve
from faith.errors import SetupError
from faith.kernel.process.capabilities import default_user
from tests.certificates import certify
from tests.test_admin_pages import SLOTS, pages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from faith.translation.shares import Place
    from tests.certificates import Certify

__all__ = ["certify"]


@contextlib.asynccontextmanager
async def serving(
    context: ssl.SSLContext | None = None, access: AdminAccess = EVERYBODY
) -> AsyncIterator[int]:
    """The port of a listener that serves."""
    sock = _listening("::", 0)
    port = sock.getsockname()[1]
    ours, theirs = pair()
    told, _ = pages(access)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_serve(sock, told, theirs, Visits(), context=context))
        yield port
        ours.close()
    theirs.close()
    sock.close()


def test_it_serves_until_the_supervisor_is_gone() -> None:
    async def run() -> bytes:
        async with serving() as port:
            reader, writer = await asyncio.open_connection("::1", port)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = await reader.read()
            writer.close()
            return answer

    assert asyncio.run(run()).endswith(b"\r\n\r\nalive\n")


def exchange(words: bytes) -> bytes:
    """Return all that is answered to *words*, which are followed by a FIN."""

    def ask(port: int) -> bytes:
        with socket.create_connection(("::1", port), 10) as sock, sock.makefile("rb") as answer:
            sock.sendall(words)
            sock.shutdown(socket.SHUT_WR)
            return answer.read()

    async def run() -> bytes:
        async with serving() as port:
            return await asyncio.to_thread(ask, port)

    return asyncio.run(run())


def test_who_says_nothing_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "PATIENCE", 0.2)

    async def run() -> bytes:
        async with serving() as port:
            reader, writer = await asyncio.open_connection("::1", port)
            writer.write(b"GET /heal")
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                answer = await reader.read()
            writer.close()
            return answer

    assert asyncio.run(run()) == b""


def test_an_answer_arrives_although_the_client_says_more_than_is_read() -> None:
    """A body of megabytes is refused with words, not with a reset that takes them back."""
    much = b"x" * 5_000_000
    post = b"POST /metrics HTTP/1.1\r\nContent-Length: 5000000\r\n\r\n"
    assert exchange(post + much).endswith(b"\r\n\r\nonly GET\n")
    assert exchange(much).startswith(b"HTTP/1.1 431 ")


async def is_served(port: int) -> bool:
    """Return whether a client is answered, and not turned away."""
    reader, writer = await asyncio.open_connection("::1", port)
    answer = b""
    with contextlib.suppress(ConnectionError):
        writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
        answer = await reader.read()
    writer.close()
    return answer.startswith(b"HTTP/1.1 200 ")


def test_a_client_with_half_of_the_places_is_turned_away_and_those_it_has_go_on() -> None:
    async def run() -> None:
        async with serving() as port:
            waiting = [await asyncio.open_connection("::1", port) for _ in range(CLIENTS // 2)]
            assert not await is_served(port)
            reader, writer = waiting[0]
            writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
            for _, writer in waiting:
                writer.close()

    asyncio.run(run())


def test_what_a_client_keeps_open_is_displaced_by_what_it_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A monitor and whoever keeps connections open may both be local: they are one client."""
    monkeypatch.setattr(admin, "JOSTLE", 0.0)

    async def run() -> None:
        async with serving() as port:
            waiting = [await asyncio.open_connection("::1", port) for _ in range(2 * CLIENTS)]
            assert await is_served(port)
            for _, writer in waiting:
                writer.close()

    asyncio.run(run())


class Transport:
    """A connection from *host*."""

    def __init__(self, host: str) -> None:
        self._host = host
        self.is_aborted = False

    def get_extra_info(self, name: str) -> object:
        return (self._host, 40000, 0, 0) if self._host else None

    def abort(self) -> None:
        self.is_aborted = True


def enter(visits: Visits, host: str, now: float = 0.0) -> Place | None:
    return visits.enter(cast("asyncio.WriteTransport", Transport(host)), now)


def test_another_client_finds_a_place_whatever_the_first_has() -> None:
    visits = Visits()
    greedy = [enter(visits, f"2001:db8::{number}") for number in range(CLIENTS)]
    assert sum(place is not None for place in greedy) == CLIENTS // 2
    assert enter(visits, "2001:db8:1::1")
    assert enter(visits, "192.0.2.1")
    assert enter(visits, "") is None, "one that has gone"
    late = enter(visits, "2001:db8::1", admin.JOSTLE)
    assert late
    displaced = [one for one in greedy if one and one.holder.is_aborted]
    assert len(displaced) == 1
    visits.leave(displaced[0])
    visits.leave(late)
    assert enter(visits, "2001:db8::1") is None, "its place was another's when it left"


def test_an_address_that_is_taken_is_refused_by_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        loop = Loop()
        with pytest.raises(SetupError, match=f"listen on 127.0.0.1 port {port}: Address already"):
            Admin(loop, ("127.0.0.1", port), SLOTS, pages()[1], default_user(), lambda kept: None)
        loop.close()


def test_who_was_accepted_before_its_end_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "GRACE", 30.0)

    async def run() -> bytes:
        async with asyncio.TaskGroup() as clients, serving() as port:
            reader, writer = await asyncio.open_connection("::1", port)
            writer.write(b"GET /healthz HTTP/1.1\r\n")
            assert await is_served(port)
            # time: by then it was told to stop
            asyncio.get_running_loop().call_later(0.2, writer.write, b"\r\n")
            answer = clients.create_task(reader.read())
            answer.add_done_callback(lambda _: writer.close())
        return answer.result()

    assert asyncio.run(run()).endswith(b"alive\n")


def test_its_end_is_no_error_for_clients_that_wait(caplog: pytest.LogCaptureFixture) -> None:
    """Browsers open connections beforehand, and say nothing on them."""

    async def run() -> None:
        async with serving() as port:
            waiting = await asyncio.open_connection("::1", port)
            assert await is_served(port)
        waiting[1].close()

    asyncio.run(run())
    assert not caplog.records


# -- TLS -----------------------------------------------------------------------------------------


def files(certificate: Path, key: Path, client_ca: Path | None = None) -> TlsFiles:
    return TlsFiles(certificate, key, client_ca)


def ask_by_tls(
    access: AdminAccess, trusted: Path, path: str, own: tuple[Path, Path] | None = None
) -> bytes:
    """Return what a client that trusts a certificate, and may have its *own*, is answered."""
    client = ssl.create_default_context(cafile=trusted)
    if own:
        client.load_cert_chain(*own)

    def ask(port: int) -> bytes:
        with (
            socket.create_connection(("::1", port), 10) as plain,
            client.wrap_socket(plain, server_hostname="::1") as sock,
            sock.makefile("rb") as answer,
        ):
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            return answer.read()

    async def run() -> bytes:
        assert access.tls
        async with serving(access.tls.context(), access) as port:
            return await asyncio.to_thread(ask, port)

    return asyncio.run(run())


def test_it_answers_by_tls(certify: Certify) -> None:
    certificate, key = certify("gateway")
    access = AdminAccess(tls=files(certificate, key))
    answer = ask_by_tls(access, certificate, "/metrics")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"# TYPE faith_workers gauge" in answer


def test_an_answer_by_tls_has_an_end(certify: Certify, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads to the end need not wait until patience is at its end."""
    monkeypatch.setattr(admin, "PATIENCE", 60.0)
    certificate, key = certify("gateway")
    access = AdminAccess(tls=files(certificate, key))
    answer = ask_by_tls(access, certificate, "/healthz")
    assert answer.endswith(b"\r\n\r\nalive\n")


def test_a_client_is_known_by_its_certificate(certify: Certify) -> None:
    certificate, key = certify("gateway")
    authority = certify("authority")
    access = AdminAccess(tls=files(certificate, key, authority[0]))
    prometheus = certify("prometheus", by=authority)
    assert ask_by_tls(access, certificate, "/metrics").startswith(b"HTTP/1.1 403 ")
    assert ask_by_tls(access, certificate, "/healthz").startswith(b"HTTP/1.1 200 ")
    answer = ask_by_tls(access, certificate, "/metrics", prometheus)
    assert answer.startswith(b"HTTP/1.1 200 ")
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        assert ask_by_tls(access, certificate, "/healthz", certify("stranger")) == b""


def test_who_does_not_speak_tls_is_hung_up_on_and_others_are_served(
    certify: Certify, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that is silent before its first word of TLS has a place, and its time, too."""
    monkeypatch.setattr(admin, "PATIENCE", 1.0)
    certificate, key = certify("gateway")
    context = files(certificate, key).context()

    async def run() -> tuple[bytes, bytes]:
        async with serving(context) as port:
            silent = await asyncio.open_connection("::1", port)
            reader, writer = await asyncio.open_connection("::1", port)
            writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
            said = []
            for side, other_side in ((reader, writer), silent):
                heard = b""
                with contextlib.suppress(ConnectionError):
                    heard = await side.read()
                said.append(heard)
                other_side.close()
            return said[0], said[1]

    by_plain_http, silent = asyncio.run(run())
    assert b"HTTP" not in by_plain_http
    assert silent == b""


def test_a_listener_is_shared_with_its_successor_on_the_same_address_only() -> None:
    loop = Loop()
    address = "::1", 0
    first = Admin(loop, address, SLOTS, pages()[1], default_user(), lambda kept: None)
    assert not first.copies(("::", 0))
    (copy,) = first.copies(address)
    second = Admin(
        loop, address, SLOTS, pages()[1], default_user(), lambda kept: None, given=[copy]
    )
    first.release()
    with socket.create_connection(copy.getsockname()[:2], 5):
        pass
    second.release()
    loop.close()

"""The admin listener's answers, and what it does with clients that are none."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, cast

import pytest

from faith.daemon.observe import health, own_numbers
from faith.daemon.observe.exposition import Exposition
from faith.daemon.observe.health import RelayHealth
from faith.daemon.observe.process_slots import ProcessSlots
from faith.daemon.process.loop import Loop
from faith.daemon.process.messages import pair
from faith.daemon.services import admin
from faith.daemon.services.admin import CLIENTS, Admin, Pages, Visits, _listening, _serve
from faith.errors import SetupError
from faith.kernel.process.capabilities import default_user
from faith.kernel.shared.shared_counters import Area

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from faith.translation.shares import Place

SLOTS = ProcessSlots(Area([health.LAYOUT, own_numbers.LAYOUT], 1), [])


def pages() -> tuple[Pages, RelayHealth]:
    told = RelayHealth([0] * health.LAYOUT.size)
    return Pages(Exposition(SLOTS), told), told


def ask(pages: Pages, line: str, *headers: str) -> tuple[int, dict[str, str], str]:
    head = "\r\n".join([line, *headers, "", ""]).encode()
    head_answered, _, body = asyncio.run(pages.answer(head)).decode().partition("\r\n\r\n")
    status, *lines = head_answered.split("\r\n")
    return int(status.split()[1]), dict(line.split(": ", 1) for line in lines), body


def test_there_are_three_pages() -> None:
    told, _ = pages()
    status, headers, body = ask(told, "GET /metrics HTTP/1.1")
    assert status == 200
    assert headers["Content-Length"] == str(len(body))
    assert "# TYPE faith_workers gauge" in body
    assert ask(told, "GET /healthz HTTP/1.1")[::2] == (200, "alive\n")
    status, _, body = ask(told, "GET / HTTP/1.1")
    assert (status, body) == (404, "/metrics\n/healthz\n/readyz\n")


def test_readiness_follows_the_condition_and_says_what_is_wanting() -> None:
    told, state = pages()
    state.steered(["route"], 1)
    assert ask(told, "GET /readyz HTTP/1.1")[::2] == (503, "no worker serves\n")
    state.serving(1, 0)
    assert ask(told, "GET /readyz?from=probe HTTP/1.0")[::2] == (200, "ready\n")
    state.drain()
    assert ask(told, "GET /readyz HTTP/1.1")[::2] == (503, "draining\n")


def test_a_head_has_no_body_and_nothing_can_be_changed() -> None:
    told, _ = pages()
    status, headers, body = ask(told, "HEAD /healthz HTTP/1.1")
    assert (status, headers["Content-Length"], body) == (200, "6", "")
    assert ask(told, "POST /metrics HTTP/1.1")[0] == 405


def test_the_accept_header_chooses_the_form() -> None:
    told, _ = pages()
    accept = "accept: application/openmetrics-text; version=1.0.0"
    _, headers, body = ask(told, "GET /metrics HTTP/1.1", "Host: here", accept)
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert body.endswith("# EOF\n")


@pytest.mark.parametrize("head", [b"\r\n\r\n", b"\xff\x00\r\n\r\n", b"GET\r\n\r\n"])
def test_nonsense_finds_nothing(head: bytes) -> None:
    told, _ = pages()
    assert asyncio.run(told.answer(head)).startswith(b"HTTP/1.1 404 ")


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[int]:
    """The port of a listener that serves."""
    sock = _listening("::", 0)
    port = sock.getsockname()[1]
    ours, theirs = pair()
    told, _ = pages()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_serve(sock, told, theirs, Visits(), None))
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

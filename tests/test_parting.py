"""A client that is left: it takes what it was sent as slowly as it likes, but takes it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from faith.proxy.proxy_events import HangUp
from faith.relay.proxy import parting
from faith.relay.proxy.parting import Parting
from faith.relay.proxy.stream_end import StreamEnd
from tests.proxy_bench import ProxyBench, new_bench
from tests.test_http_forward import answer, get

if TYPE_CHECKING:
    from collections.abc import Iterator

LENGTH = 100_000


@pytest.fixture
def bench() -> Iterator[ProxyBench]:
    yield from new_bench("uvloop")


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The proxy's end of a connection, and that of a client with little room."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listener.getsockname())
        with listener.accept()[0] as own:
            own.setblocking(False)
            yield own, client


async def parted(own: socket.socket, client: socket.socket, patience: float, cut: bool) -> bool:
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    found: list[bool] = []

    def ended(has_everything: bool) -> None:
        found.append(has_everything)
        over.set()

    own.send(bytes(LENGTH))
    Parting(loop, StreamEnd("client", own), HangUp("", cut), lambda: 0, patience, ended)
    if not patience:
        client.setblocking(False)
        taken = 0
        while taken < LENGTH:
            taken += len(await loop.sock_recv(client, 1000))
    await over.wait()
    return found == [True]


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("reads", [False, True])
def test_a_client_has_time_while_it_takes_anything(
    monkeypatch: pytest.MonkeyPatch,
    pair: tuple[socket.socket, socket.socket],
    reads: bool,
    cut: bool,
) -> None:
    monkeypatch.setattr(parting, "LINGER", 0.001)
    monkeypatch.setattr(parting, "SOON", 0.001)
    monkeypatch.setattr(parting, "QUIET", 0 if reads else 0.05)
    assert asyncio.run(parted(*pair, 0 if reads else 0.05, cut)) is reads


@pytest.mark.parametrize("cut", [False, True])
def test_a_slow_client_gets_all_of_its_last_answer(
    bench: ProxyBench, monkeypatch: pytest.MonkeyPatch, cut: bool
) -> None:
    monkeypatch.setattr(parting, "LINGER", 0.001)
    server = bench.server()
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(bench.at.getsockname()[:2])
    client = bench.keep(sock)
    client.say(get(server, fields="Connection: close\r\n"))
    at = server.accept()
    at.hear_head()
    body = bytes(LENGTH)
    if cut:
        at.say(b"HTTP/1.1 200 OK\r\n\r\n" + body)
        at.reset()
    else:
        at.say(answer(body))
    bench.until(lambda: bench.stages() == ["closing"])
    for _ in range(10):
        bench.turn()
    client.hear_head()
    assert client.hear(LENGTH) == body
    with pytest.raises(ConnectionResetError) if cut else contextlib.nullcontext():
        bench.until(lambda: client.received() == b"")

"""An rsh session before the client has said its port; tests/netns/test_rsh.py has the rest."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import uvloop

from faith.relay.alg import rsh
from faith.relay.alg.rsh import Rsh
from faith.relay.tcp.plane import Plane
from faith.relay.tcp.routing import Route
from faith.relay.tcp.session import Session

if TYPE_CHECKING:
    import pytest


def test_a_client_has_to_say_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rsh, "PATIENCE", 0.05)
    loop = uvloop.new_event_loop()
    ended: list[Session] = []
    plane = Plane(loop, lambda leg, events: None, ended.append)
    nobody: Any = None  # there is no second connection
    relay = Rsh(loop, plane, nobody)
    (client, ours), (server, its) = socket.socketpair(), socket.socketpair()
    for sock in (client, server):
        sock.setblocking(False)
    route = Route("2001:db8:ffff::c000:250", "192.0.2.80")
    session = Session(client, server, ("2001:db8:6::2", 1023, 0, 0), route, 514, loop.time())
    relay.take_over(session)
    ours.send(b"10")
    loop.run_until_complete(asyncio.sleep(0.2))
    assert ended == [session]
    assert session.end == "client timed out"
    assert its.recv(1) == b""
    plane.close()
    loop.close()
    ours.close()
    its.close()

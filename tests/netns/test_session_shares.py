"""Sessions of a worker that has few descriptors: no client has all of them."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING

import pytest

from faith.lab import wait_until
from faith.lab.topology import CLIENT, GATEWAY_V6
from tests.faithd import Faithd
from tests.netns import connections
from tests.netns.service import PORT, answers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faith.lab import ThreeHosts

    Start = Callable[..., Faithd]

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("reserved", "echo")]

FEW = "prlimit", "--nofile=256:256"
PLACES = 64
"""Sessions for which 256 descriptors are enough, beside what a worker needs for itself."""
SIZES = 16, 8, 4, 2, 1, 1
"""Sessions of clients, each of which has as many as it could get after those before."""
CROWDS = [f"{CLIENT}{number}" for number in range(1 + len(SIZES))]
LATE = f"{CLIENT}9"
DEAF = PORT + 1
"""A port of the server's that lets connections wait for ever."""


@pytest.fixture
def start(lab: ThreeHosts, tmp_path: Path) -> Start:
    """Start a faithd with one worker that has few descriptors; each address is a client."""

    def start(*arguments: str) -> Faithd:
        words = "--workers", "1", "--limit", "prefix_length=128", *arguments
        faithd = Faithd(lab.gateway, tmp_path / "log", *words, f"{PORT},{DEAF}", by=FEW)
        faithd.wait_said("serving")
        return faithd

    return start


@pytest.fixture(autouse=True)
def addresses(lab: ThreeHosts) -> None:
    """Give the client an address for each crowd."""
    device = json.loads(lab.client.run(["ip", "-j", "route", "get", GATEWAY_V6]).stdout)[0]["dev"]
    for address in (*CROWDS, LATE):
        lab.client.run(["ip", "-6", "address", "add", f"{address}/64", "dev", device, "nodad"])


def come(lab: ThreeHosts, source: str, port: int = PORT) -> socket.socket:
    to = lab.mapped(), port
    return lab.client.call(socket.create_connection, to, 5, (source, 0))


def fill(
    lab: ThreeHosts, held: contextlib.ExitStack, source: str, most: int
) -> list[socket.socket]:
    """Have *source* make so many connections; return those that are served, which stay open."""
    found = []
    for _ in range(most):
        with contextlib.suppress(ConnectionResetError):
            connection = held.enter_context(come(lab, source))
            if answers(connection):
                found.append(connection)
    return found


def test_one_client_gets_half_of_a_worker_and_others_are_served(
    lab: ThreeHosts, start: Start
) -> None:
    faithd = start()
    with contextlib.ExitStack() as held:
        greedy = fill(lab, held, CROWDS[0], 3 * PLACES)
        assert len(greedy) == PLACES // 2
        faithd.wait_said('end="over the client\'s share"')
        assert len(fill(lab, held, CROWDS[1], 3)) == 3
        assert all(map(answers, greedy)), "established sessions go on"
    faithd.wait_said("end=closed", PLACES // 2 + 3)
    with contextlib.ExitStack() as held:
        assert len(fill(lab, held, CROWDS[0], PLACES)) == PLACES // 2, "it has its share again"


def test_a_full_worker_has_the_oldest_dial_of_the_greediest_make_room(
    lab: ThreeHosts, start: Start
) -> None:
    drop = f"{{ type filter hook input priority 0; tcp dport {DEAF} drop; }}"
    lab.server.run(["nft", f"add table ip deaf; add chain ip deaf input {drop}"])
    faithd = start()
    with contextlib.ExitStack() as held:
        for _ in range(PLACES // 2):
            held.enter_context(come(lab, CROWDS[0], DEAF))
        wait_until(
            lambda: connections.count(lab.gateway, connections.SYN_SENT, port=DEAF) == PLACES // 2,
            5,
            "all of them being dialled",
        )
        others = [
            one
            for source, size in zip(CROWDS[1:], SIZES, strict=True)
            for one in fill(lab, held, source, size)
        ]
        assert len(others) == PLACES // 2
        assert "displaced" not in faithd.said
        assert len(fill(lab, held, LATE, 2)) == 2
        faithd.wait_said("end=displaced", 2)
        assert all(map(answers, others))

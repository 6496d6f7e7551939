"""``faith sessions`` and ``faith kill`` with a whole daemon: chosen by networks and ports."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from faith.cli import sessions
from faith.errors import FaithError
from faith.lab import wait_until
from faith.lab.topology import CLIENT, PREFIX, SERVER
from tests.faithd import ENVIRONMENT
from tests.netns.flow_lab import OTHER_CLIENT, add_other_client, connect_as
from tests.netns.gateway import Gateway
from tests.netns.service import PORT, Echo, answers

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

    from faith.lab import ThreeHosts

pytestmark = pytest.mark.netns

OTHER_PORT = 2324
FAITH = [sys.executable, "-m", "faith.cli.faith"]


@pytest.fixture
def gateway(lab: ThreeHosts, tmp_path: Path, path: str) -> Iterator[Gateway]:
    """A daemon with two workers and servers at two ports."""
    add_other_client(lab)
    service = f'[[service]]\nports = "{PORT},{OTHER_PORT}"\npath = "{path}"\n'
    text = f'workers = 2\n[[prefix]]\naddress = "{PREFIX}"\n{service}'
    servers = Echo(lab.server, PORT), Echo(lab.server, OTHER_PORT)
    with contextlib.closing(servers[0]), contextlib.closing(servers[1]):
        yield Gateway(lab, tmp_path, text)


def connected(lab: ThreeHosts, source: str, port: int = PORT, count: int = 1) -> list[Any]:
    made = [connect_as(lab, source, port) for _ in range(count)]
    assert all(answers(one) for one in made)
    return made


def is_reset(connection: socket.socket) -> bool:
    try:
        return not answers(connection)
    except ConnectionError:
        return True


def test_they_are_chosen_by_networks_and_ports(lab: ThreeHosts, gateway: Gateway) -> None:
    mine = connected(lab, CLIENT, count=2)
    others = connected(lab, OTHER_CLIENT) + connected(lab, OTHER_CLIENT, OTHER_PORT)

    def listed(**wanted: Any) -> int:
        return len(sessions.read(gateway.control, **wanted))

    assert listed() == 4
    assert listed(client="2001:db8:6::/64") == listed(client=OTHER_CLIENT) == 2
    assert listed(port=OTHER_PORT) == listed(client=OTHER_CLIENT, port=PORT) == 1
    assert listed(server=f"{SERVER}/32") == 4
    assert listed(server="2001:db8::/32") == listed(client="192.0.2.0/24") == 0
    (one,) = sessions.read(gateway.control, port=OTHER_PORT)
    assert one.source
    source, source_port = sessions.host_and_port(one.source)
    assert listed(source=source) == 4
    assert listed(source="2001:db8::/32") == 0
    assert source_port > 0

    assert sessions.kill(gateway.control, client=OTHER_CLIENT) == 2
    assert all(is_reset(one) for one in others)
    assert all(answers(one) for one in mine)
    gateway.wait_said("end=killed", 2)
    assert sessions.kill(gateway.control, client=OTHER_CLIENT) == 0
    for one in (*mine, *others):
        one.close()


def test_nothing_is_ended_that_was_not_named(lab: ThreeHosts, gateway: Gateway) -> None:
    (mine,) = connected(lab, CLIENT)
    (one,) = sessions.read(gateway.control)
    for words in (
        {},
        {"client": "nobody"},
        {"port": "http"},
        {"port": 1 << 16},
        {"client": 7},
        {"session": one.id, "client": OTHER_CLIENT},  # its name is another one's by now
        {"session": one.id, "client": CLIENT, "client_port": 1},
        {"session": f"{one.id}1"},
    ):
        with pytest.raises(FaithError):
            sessions.kill(gateway.control, **words)
    assert answers(mine)
    port = mine.getsockname()[1]
    for name in ("1-", "1--1", f"1-{'f' * 5000}", "1-0x1", "1-1_0"):  # none of them ends the daemon
        with pytest.raises(FaithError, match="a session is called WORKER-SERIAL"):
            sessions.kill(gateway.control, session=name)
    assert sessions.kill(gateway.control, session=one.id, client=CLIENT, client_port=port) == 1
    assert is_reset(mine)
    mine.close()


@pytest.mark.parametrize("path", ["relay"], indirect=False)
def test_they_come_and_go_while_some_are_ended(
    lab: ThreeHosts, gateway: Gateway, path: str
) -> None:
    """All that were there are ended, none of others, and the counts are those of the records."""
    mine = connected(lab, CLIENT, count=3)
    over = threading.Event()
    visits = 0

    def come_and_go() -> None:
        nonlocal visits
        while not over.is_set():
            with contextlib.suppress(OSError), connect_as(lab, OTHER_CLIENT) as visit:
                answers(visit)
                visits += 1

    def has_more(before: int) -> bool:
        return visits > before

    coming = [threading.Thread(target=come_and_go) for _ in range(4)]
    for one in coming:
        one.start()
    ended = 0
    try:
        lasting = connected(lab, OTHER_CLIENT, OTHER_PORT, count=200)
        for _ in range(5):
            before = visits
            ended += sessions.kill(gateway.control, client="2001:db8:7::/64")
            wait_until(partial(has_more, before), 10, "sessions that begin again")
    finally:
        over.set()
        for one in coming:
            one.join()
    assert all(is_reset(one) for one in lasting)
    assert all(answers(one) for one in mine)
    assert ended >= 200
    wait_until(lambda: gateway.said.count("end=killed") == ended, 5, "a record of each")
    for one in (*mine, *lasting):
        one.close()


class Conversation:
    """A command in a terminal, which is answered."""

    def __init__(self, lab: ThreeHosts, *words: str) -> None:
        self._terminal, theirs = pty.openpty()
        self._process = lab.gateway.popen(
            [*FAITH, *words], env=ENVIRONMENT, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        self.said = ""

    def wait_said(self, text: str) -> None:
        while text not in self.said:
            ready, _, _ = select.select([self._terminal], [], [], 10)
            assert ready, self.said
            self.said += os.read(self._terminal, 4096).decode()

    def answer(self, text: str) -> int:
        os.write(self._terminal, text.encode())
        status: int = self._process.wait(10)
        with contextlib.suppress(OSError):  # EIO at its end
            while more := os.read(self._terminal, 4096):
                self.said += more.decode()
        os.close(self._terminal)
        return status


@pytest.mark.parametrize("path", ["relay"], indirect=False)
def test_a_terminal_confirms_and_a_pipe_cannot(
    lab: ThreeHosts, gateway: Gateway, path: str
) -> None:
    mine = connected(lab, CLIENT, count=2)
    words = "kill", "--client", "2001:db8:6::/64"
    piped = lab.gateway.popen(
        [*FAITH, *words], env=ENVIRONMENT, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert "--yes" in piped.communicate(timeout=10)[1]
    assert piped.returncode == 2

    for answer, status, says in (
        ("\x04", 1, "no session has been reset"),
        ("n\n", 1, "no session has been reset"),
        ("y\n", 0, "2 sessions have been reset"),
    ):
        assert all(answers(one) for one in mine)
        asked = Conversation(lab, *words)
        asked.wait_said("Reset 2 sessions?")
        assert asked.answer(answer) == status, asked.said
        assert says in asked.said
    assert all(is_reset(one) for one in mine)
    for one in mine:
        one.close()

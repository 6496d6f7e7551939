"""Being found by others of this network namespace."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from faith.daemon.host import discovery
from faith.daemon.host.discovery import Announcement, Running, running

if TYPE_CHECKING:
    from collections.abc import Iterator

STATE = Running(1, "test", "23", "route", 2, 1.5, ["2001:db8:ffff::/96"], [])
ANNOUNCE = """
import select, sys
from faith.daemon.host.discovery import Running, Announcement
state = Running(1, "test", "23", "route", 2, 1.5, ["2001:db8:ffff::/96"], [])
announcement = Announcement.create(lambda: state)
print("ready", flush=True)
while sys.stdin not in select.select([announcement, sys.stdin], [], [])[0]:
    if sys.argv[1] == "answer":
        announcement.answer()
"""


class Another:
    """A process that announces itself, and answers or does not."""

    def __init__(self, manner: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", ANNOUNCE, manner],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.pid = self._process.pid
        assert self._process.stdout
        assert self._process.stdout.readline() == b"ready\n"

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture
def another() -> Iterator[Another]:
    another = Another("answer")
    yield another
    another.close()


@pytest.fixture
def silent() -> Iterator[Another]:
    another = Another("ignore")
    yield another
    another.close()


def found() -> list[Running]:
    """Return the daemons of this test: other faithds may run on the machine."""
    return [found for found in running() if found.service == "test"]


def test_is_found_with_the_process_the_kernel_vouches_for(another: Another) -> None:
    assert found() == [
        Running(another.pid, "test", "23", "route", 2, 1.5, ["2001:db8:ffff::/96"], [])
    ]


def test_is_gone_with_its_process(another: Another) -> None:
    another.close()
    assert found() == []


def test_does_not_find_itself() -> None:
    announcement = Announcement.create(lambda: STATE)
    assert found() == []
    announcement.close()


def test_one_that_does_not_answer_is_left_out(
    silent: Another, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "TIMEOUT", 0.05)
    assert found() == []


def test_nonsense_is_left_out() -> None:
    assert discovery._read(b"nonsense", 1) is None
    assert discovery._read(b"[]", 1) is None
    assert discovery._read(b'{"pid": 1}', 1) is None


def test_a_process_of_another_pid_namespace_is_known_by_its_own_number() -> None:
    told = discovery._read(
        b'{"pid": 7, "service": "s", "ports": "1", "via": "route", "workers": 1,'
        b' "started": 1, "prefixes": [], "sets_up": []}',
        0,
    )
    assert told
    assert told.pid == 7


def test_two_processes_of_the_same_number_can_share_a_network() -> None:
    both = [Announcement.create(lambda: STATE), Announcement.create(lambda: STATE)]
    names = set()
    for announcement in both:
        with socket.socket(fileno=os.dup(announcement.fileno())) as sock:
            names.add(sock.getsockname())
    for announcement in both:
        announcement.close()
    assert len(names) == 2

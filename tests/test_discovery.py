"""Being found by others of this network namespace."""

from __future__ import annotations

import json
import os
import resource
import select
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec import to_builtins
from msgspec.structs import replace

from faith.daemon.host import discovery
from faith.daemon.host.discovery import Announcement, running
from faith.daemon.observe.status_report import Daemon, FlowTable, ServedPath
from faith.daemon.process.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Iterator

STATE = Daemon(1, "test", "23", "route", 1.5, ["2001:db8:ffff::/96"], [])
ANNOUNCE = """
import select, sys
from pathlib import Path
from faith.daemon.host import discovery
from faith.daemon.host.discovery import Announcement
from faith.daemon.observe.status_report import Daemon
discovery.DIRECTORY = Path(sys.argv[2])
state = Daemon(1, "test", "23", "route", 1.5, ["2001:db8:ffff::/96"], [])
announcement = Announcement.create(lambda: state)
print("ready", flush=True)
while sys.stdin not in select.select([announcement, sys.stdin], [], [])[0]:
    if sys.argv[1] == "answer":
        announcement.answer()
announcement.close()
"""


class Another:
    """A process that announces itself, and answers or does not."""

    def __init__(self, manner: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", ANNOUNCE, manner, str(discovery.DIRECTORY)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.pid = self._process.pid
        assert self._process.stdout
        assert self._process.stdout.readline() == b"ready\n"

    def close(self) -> None:
        self._process.communicate()

    def kill(self) -> None:
        self._process.kill()
        self.close()


@pytest.fixture(autouse=True)
def directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory where nobody else listens, at a path short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="faith-") as name:
        directory = Path(name, "run")
        directory.mkdir()
        monkeypatch.setattr(discovery, "DIRECTORY", directory)
        yield directory


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


def found() -> list[Daemon]:
    """Return the daemons of this test: other faithds may run on the machine."""
    return [found for found in running() if found.service == "test"]


def test_is_found_with_the_process_the_kernel_vouches_for(another: Another) -> None:
    assert found() == [Daemon(another.pid, "test", "23", "route", 1.5, ["2001:db8:ffff::/96"], [])]


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


def test_all_are_waited_for_together(another: Another, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many hang: each for itself would make everybody wait for minutes."""
    now = 0.0

    class Selector(selectors.DefaultSelector):
        """One that is told how long to wait."""

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            nonlocal now
            assert timeout
            if len(self.get_map()) > len(hanging):
                return super().select(10)
            now += timeout
            return []

    hanging = [Another("ignore") for _ in range(3)]
    monkeypatch.setattr(selectors, "DefaultSelector", Selector)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    try:
        assert [faithd.pid for faithd in found()] == [another.pid]
    finally:
        for each in hanging:
            each.close()
    assert now == discovery.TIMEOUT


def test_nonsense_is_left_out() -> None:
    assert discovery._read("nonsense", 1) is None
    assert discovery._read("[]", 1) is None
    assert discovery._read('{"pid": 1}', 1) is None


BEFORE = {
    "pid": 7,
    "service": "s",
    "ports": "1",
    "via": "route",
    "workers": 1,
    "started": 1,
    "prefixes": [],
    "sets_up": [],
}
"""The answer of a daemon from before anything was added."""


def test_the_answers_of_other_versions_are_understood() -> None:
    before = discovery._read(json.dumps(BEFORE), 7)
    assert before
    assert before.paths == []
    later = {**BEFORE, "paths": [{"ports": "80", "path": "kernel", "age": 3}], "news": {}}
    told = discovery._read(json.dumps(later), 7)
    assert told
    assert told.paths == [ServedPath("80", "kernel")]


def test_the_kernel_path_comes_back_as_it_was_sent() -> None:
    sent = replace(STATE, flows=FlowTable(["lo", "eth0"], 3, 65536, 7, True))
    assert discovery._read(json.dumps(to_builtins(sent)), STATE.pid) == sent


def test_paths_come_back_as_they_were_sent() -> None:
    sent = replace(STATE, paths=[ServedPath("80", "kernel"), ServedPath("21", "relay", "FTP")])
    assert discovery._read(json.dumps(to_builtins(sent)), sent.pid) == sent


@pytest.mark.parametrize("paths", [3, [3], [{}], {"ports": 1}])
def test_paths_of_no_known_form_are_nonsense(paths: object) -> None:
    assert discovery._read(json.dumps({**BEFORE, "paths": paths}), 7) is None


def test_a_process_of_another_pid_namespace_is_known_by_its_own_number() -> None:
    told = discovery._read(json.dumps(BEFORE), 0)
    assert told
    assert told.pid == 7


def test_two_processes_of_the_same_number_can_share_a_network() -> None:
    both = [Announcement.create(lambda: STATE), Announcement.create(lambda: STATE)]
    paths = {announcement.state() for announcement in both}
    for announcement in both:
        announcement.close()
    assert len(paths) == 2


def test_nothing_is_left_of_one_that_was_closed(directory: Path) -> None:
    Announcement.create(lambda: STATE).close()
    assert list(directory.iterdir()) == []


def test_what_a_killed_one_left_goes_when_the_next_starts(directory: Path) -> None:
    killed = Another("answer")
    killed.kill()
    (left,) = directory.iterdir()
    announcement = Announcement.create(lambda: STATE)
    assert not left.exists()
    announcement.close()


def test_a_copy_removes_nothing(directory: Path) -> None:
    """One of a process on trial, whose daemon goes on."""
    announcement = Announcement.create(lambda: STATE)
    state = announcement.state()
    assert state
    path, descriptor, owner = state
    left = path, os.dup(descriptor), owner + 1
    Announcement.adopt(left, lambda: STATE).close()
    assert Path(path).exists()
    announcement.close()


def test_where_it_cannot_listen_the_daemon_runs_and_says_so(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory.rmdir()
    directory.write_text("no directory")
    announcement = Announcement.create(lambda: STATE)
    assert announcement.state() is None
    assert f"cannot find this one: {directory}: File exists" in caplog.text
    announcement.close()


def test_a_client_that_is_gone_keeps_nobody_from_being_answered() -> None:
    announcement = Announcement.create(lambda: STATE)
    state = announcement.state()
    assert state
    clients = []
    for _ in range(3):
        client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        client.connect(state[0])
        clients.append(client)
    clients[0].close()
    announcement.answer()
    assert all(client.recv(10) == b"{}" for client in clients[1:])
    for client in clients:
        client.close()
    announcement.close()


def test_a_turn_answers_a_few_and_the_rest_is_for_the_next() -> None:
    announcement = Announcement.create(lambda: STATE)
    state = announcement.state()
    assert state
    clients = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(20)]
    for client in clients:
        client.connect(state[0])
        client.setblocking(False)
    announcement.answer()
    answered = select.select(clients, [], [], 0)[0]
    announcement.answer()
    assert 0 < len(answered) < len(select.select(clients, [], [], 0)[0]) == 20
    for client in clients:
        client.close()
    announcement.close()


def test_without_a_descriptor_it_answers_when_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "PAUSE", 0.01)
    loop = Loop()
    announcement = Announcement.create(lambda: STATE)
    announcement.serve(loop)
    state = announcement.state()
    assert state
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.connect(state[0])
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        loop.later(0.05, lambda: resource.setrlimit(resource.RLIMIT_NOFILE, before))
        loop.watch(client, loop.stop)
        resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno(), before[1]))
        try:
            loop.run()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert client.recv(10) == b"{}"
    announcement.close()
    loop.close()

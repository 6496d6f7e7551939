"""Syslog in plain Python."""

from __future__ import annotations

import os
import pty
import re
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from faith.relay.inetd import syslog

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    monkeypatch.setattr(syslog, "DEV_LOG", str(tmp_path / "log"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(syslog.DEV_LOG)
        sock.settimeout(0)
        yield sock


def test_messages_look_like_those_of_syslog(daemon: socket.socket) -> None:
    log = syslog.Syslog()
    log.info("all is well")
    log.error("nothing is")
    form = rb"<30>[A-Z][a-z][a-z] [ \d]\d \d\d:\d\d:\d\d faithd\[%d\]: all is well"
    assert re.fullmatch(form % os.getpid(), daemon.recv(1000))
    assert daemon.recv(1000).startswith(b"<27>")


def test_steps_are_told_when_asked_for(daemon: socket.socket) -> None:
    log = syslog.Syslog()
    log.debug("unseen")
    log.debugging = True
    log.debug("seen")
    assert daemon.recv(1000).endswith(b": seen")


def test_defect_is_told_with_its_place(daemon: socket.socket) -> None:
    try:
        raise ZeroDivisionError("a defect")
    except ZeroDivisionError as error:
        syslog.Syslog().defect(type(error), error, error.__traceback__)
    lines = [daemon.recv(1000).partition(b"]: ")[2] for _ in range(4)]
    assert lines[0] == b"Traceback (most recent call last):"
    assert b"test_syslog.py" in lines[1]
    assert lines[3] == b"ZeroDivisionError: a defect"


def fill(daemon: socket.socket) -> int:
    """Send until the daemon has no room; return how many it has."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect(syslog.DEV_LOG)
        count = 0
        while True:
            try:
                sock.send(b"filling")
            except BlockingIOError:
                return count
            count += 1


def test_a_busy_daemon_gets_the_lines_later_and_in_order(daemon: socket.socket) -> None:
    log = syslog.Syslog()
    filling = fill(daemon)
    for number in range(5):
        log.info(f"line {number}")
    for _ in range(filling):
        assert daemon.recv(1000) == b"filling"
    log.info("line 5")
    told = [daemon.recv(1000).partition(b"]: ")[2] for _ in range(6)]
    assert told == [b"line %d" % number for number in range(6)]


def test_the_end_waits_for_a_busy_daemon(daemon: socket.socket) -> None:
    log = syslog.Syslog()
    filling = fill(daemon)
    for number in range(50):
        log.info(f"line {number}")
    told: list[bytes] = []

    def read() -> None:
        daemon.settimeout(5)
        told.extend(daemon.recv(1000) for _ in range(filling + 50))

    reader = threading.Thread(target=read)
    reader.start()
    log.finish()
    reader.join()
    assert told[-1].endswith(b"]: line 49")


def test_the_end_waits_no_longer_than_it_may(
    daemon: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syslog, "FINISH", 0.05)
    log = syslog.Syslog()
    fill(daemon)
    log.info("never read")
    log.finish()


def test_lines_beyond_the_most_are_counted(
    daemon: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syslog, "MOST", 2)
    log = syslog.Syslog()
    filling = fill(daemon)
    for number in range(5):
        log.info(f"line {number}")
    for _ in range(filling):
        daemon.recv(1000)
    log.info("lost as well")
    told = [daemon.recv(1000).partition(b"]: ")[2] for _ in range(3)]
    assert told == [b"line 0", b"line 1", b"4 log lines were lost"]


def test_a_name_that_is_not_utf_8_is_escaped(daemon: socket.socket) -> None:
    syslog.Syslog().error("no file /etc/\udcff.conf")
    assert daemon.recv(1000).endswith(b"no file /etc/\\udcff.conf")


def test_nobody_listens(daemon: socket.socket) -> None:
    daemon.close()
    os.unlink(syslog.DEV_LOG)
    syslog.Syslog().info("unheard")


def test_terminal_is_told_too(daemon: socket.socket) -> None:
    master, terminal = pty.openpty()
    stderr = os.dup(2)
    os.dup2(terminal, 2)
    try:
        syslog.Syslog().error("look here")
    finally:
        os.dup2(stderr, 2)
    assert os.read(master, 1000).endswith(b"]: look here\r\n")
    for descriptor in (master, terminal, stderr):
        os.close(descriptor)

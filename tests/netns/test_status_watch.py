"""``faith status --watch``, in a pipe, in a terminal and for programs, until SIGINT."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from faith.cli.status_watch import fitting
from faith.kernel.netlink import routes
from faith.translation.prefix import Prefix
from tests.faithd import ENVIRONMENT

if TYPE_CHECKING:
    from faith.lab import Network
    from faith.lab.host import Host

FAITH = [sys.executable, "-m", "faith.cli.faith"]
PREFIX = Prefix.parse("2001:db8:ffff::/96")
EVERY = "0.2"


@pytest.fixture
def host(network: Network) -> Host:
    """A host with nothing set up."""
    return network.host("host")


@pytest.mark.netns
def test_in_a_pipe_there_is_a_block_for_each_report(host: Host) -> None:
    command = [*FAITH, "status", "--watch", EVERY]
    program = host.popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE)
    assert program.stdout
    said = [program.stdout.readline() for _ in range(6)]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\n", said[0])
    assert said[1].startswith("prefix   none is reserved")
    assert said[2] == "\n"
    assert said[4] == said[1]
    program.send_signal(signal.SIGINT)
    assert program.wait(10) == 0  # as the last report
    assert "\x1b" not in "".join(said)


@pytest.mark.netns
def test_for_programs_there_is_a_line_for_each_report_and_the_last_one_decides(host: Host) -> None:
    command = [*FAITH, "status", "--watch", "--json", EVERY]
    program = host.popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE)
    assert program.stdout
    first, second = (json.loads(program.stdout.readline()) for _ in range(2))
    assert first["good"]
    assert second["time"] > first["time"]
    host.call(lambda: routes.reserve(PREFIX))
    while json.loads(program.stdout.readline())["good"]:
        pass
    program.send_signal(signal.SIGINT)
    assert program.wait(10) == 1


@pytest.mark.netns
def test_in_a_terminal_it_is_drawn_in_place(host: Host) -> None:
    ours, theirs = pty.openpty()
    command = [*FAITH, "status", "--watch", EVERY]
    program = host.popen(
        command, env=ENVIRONMENT, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE
    )
    os.close(theirs)
    drawn = b""
    try:
        while drawn.count(b"\x1b[H") < 4:
            assert select.select([ours], [], [], 10)[0]
            drawn += os.read(ours, 4096)
        program.send_signal(signal.SIGINT)
        assert program.wait(10) == 0
    finally:
        os.close(ours)
    assert drawn.count(b"\x1b[2J") == 1
    assert b"none is reserved" in drawn
    assert program.stderr
    assert program.stderr.read() == ""


def test_a_report_is_broken_and_cut_to_what_a_terminal_holds() -> None:
    lines = ["abcdef", "", "gh"]
    assert fitting(lines, 4, 24) == ["abcd", "ef", "", "gh"]
    assert fitting(lines, 80, 24) == lines
    assert fitting(lines, 80, 3) == ["abcdef", "... 2 more lines"]
    assert fitting(lines, 0, 0) == ["."]

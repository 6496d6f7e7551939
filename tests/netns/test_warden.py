"""The process that ends what runs in a host."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.lab import Network, warden

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.lab import Host

pytestmark = pytest.mark.netns

PIPE = subprocess.PIPE


@pytest.fixture
def host(network: Network) -> Host:
    return network.host("one")


class Program:
    """A program that waits, after *setup*."""

    def __init__(self, host: Host, setup: str = "pass") -> None:
        script = f"import signal; {setup}; print(flush=True); signal.pause()"
        argv = [sys.executable, "-c", script]
        self.process = host.call(lambda: subprocess.Popen(argv, stdout=PIPE))
        assert self.process.stdout
        assert self.process.stdout.readline() == b"\n"

    def end(self) -> int:
        with self.process:
            return self.process.wait(10)


@pytest.fixture
def standing(host: Host) -> Iterator[subprocess.Popen[str]]:
    """A warden in the host's namespace."""
    argv = [sys.executable, "-IS", warden.__file__, "one"]
    with host.call(lambda: subprocess.Popen(argv, stdin=PIPE, stdout=PIPE, text=True)) as started:
        yield started
        started.kill()


def test_only_those_of_the_namespace_are_its_inhabitants(network: Network, host: Host) -> None:
    here, elsewhere = Program(host), Program(network.host("two"))
    assert warden.inhabitants(os.fstat(host.namespace)) == [here.process.pid]
    for program in (here, elsewhere):
        program.process.kill()
        program.end()
    assert warden.inhabitants(os.fstat(host.namespace)) == []


def test_at_the_end_of_its_input_all_are_asked_to_end(
    host: Host, standing: subprocess.Popen[str]
) -> None:
    programs = [Program(host), Program(host)]
    assert standing.stdin
    standing.stdin.close()
    assert [program.end() for program in programs] == [-signal.SIGTERM] * 2
    assert standing.wait(10) == 0


def test_who_does_not_is_killed(host: Host, standing: subprocess.Popen[str]) -> None:
    stubborn = Program(host, "signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    assert standing.stdin
    standing.stdin.close()
    assert stubborn.end() == -signal.SIGKILL
    assert standing.wait(10) == 0


def test_one_that_keeps_is_named_and_waits_for_sigterm(
    host: Host, standing: subprocess.Popen[str]
) -> None:
    program = Program(host)
    assert standing.stdin
    assert standing.stdout
    standing.stdin.write("keep\n")
    standing.stdin.close()
    assert standing.stdout.read() == ""  # tells that it is so
    assert Path(f"/proc/{standing.pid}/comm").read_text() == "faith-one\n"
    assert program.process.poll() is None
    standing.terminate()
    assert program.end() == -signal.SIGTERM
    assert standing.wait(10) == 0

"""A confined process can read and serve, and nothing else, as the kernel confirms."""

from __future__ import annotations

import os
import platform
import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from faith.kernel.flow.flow_maps import FlowMaps
from faith.kernel.process import capabilities, sandbox, system_calls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.netns.conftest import Fork, Report

pytestmark = pytest.mark.netns


def outcome(action: Callable[[], object]) -> str:
    try:
        action()
    except OSError as error:
        return type(error).__name__
    return "done"


def confined(fork: Fork, *actions: Callable[[], object], **how: bool) -> tuple[int, list[str]]:
    """The version of Landlock, and what became of *actions* in a process that is confined."""

    def run(report: Report) -> Any:
        capabilities.drop(capabilities.default_user())
        version = sandbox.confine(**how)
        return version, [outcome(action) for action in actions]

    version, outcomes = fork(run).report()
    if not version:
        pytest.skip("this kernel has no Landlock")
    return version, outcomes


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory for everybody; pytest's are for its user alone."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o777)
        yield Path(name)


def test_files_can_be_read_and_nothing_else(fork: Fork, directory: Path) -> None:
    file = directory / "file"
    file.write_text("before")
    file.chmod(0o666)
    beneath = file.open("a")
    _, outcomes = confined(
        fork,
        file.read_text,
        lambda: file.write_text("x"),
        lambda: (directory / "new").write_text("x"),
        file.unlink,
        lambda: os.mkdir(directory / "directory"),
        lambda: os.execv("/bin/true", ["true"]),
        lambda: os.memfd_create("memory"),
        lambda: os.write(beneath.fileno(), b" and after"),
    )
    beneath.close()
    denied = "PermissionError"
    assert outcomes == ["done", denied, denied, denied, denied, denied, "done", "done"]
    assert file.read_text() == "before and after"


def test_nobody_is_signalled(fork: Fork) -> None:
    child = fork(lambda report: signal.pause())
    version, outcomes = confined(
        fork, lambda: os.kill(child.pid, 0), lambda: os.kill(os.getpid(), 0)
    )
    if version < 6 and os.geteuid():
        pytest.skip("the kernel's Landlock leaves signals alone")
    assert outcomes == ["PermissionError", "done"]


@pytest.mark.parametrize(("connects", "expected"), [(True, "done"), (False, "PermissionError")])
def test_who_need_not_connect_cannot(fork: Fork, connects: bool, expected: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        version, outcomes = confined(
            fork,
            lambda: socket.socket().connect(address),
            lambda: socket.socket().bind(("127.0.0.1", 0)),
            connects=connects,
        )
    if version < 4:
        pytest.skip("the kernel's Landlock leaves connections alone")
    assert outcomes == [expected, expected]


def test_system_calls_that_no_server_needs_are_refused(fork: Fork) -> None:
    """Where Landlock allows them, too: files in memory, processes, other sockets."""
    memory = os.memfd_create("program")
    os.write(memory, Path("/bin/true").read_bytes())
    path = Path(f"/proc/self/fd/{memory}")

    def thread() -> None:
        done: list[int] = []
        running = threading.Thread(target=lambda: done.append(1))
        running.start()
        running.join()
        assert done

    def run(report: Report) -> list[str]:
        capabilities.drop(capabilities.default_user())
        sandbox.confine()
        return [
            outcome(action)
            for action in (
                lambda: os.execve(memory, ["true"], {}),
                lambda: os.execv(path, ["true"]),
                os.fork,
                lambda: subprocess.run(["/bin/true"], check=True),
                lambda: socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET),
                lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
                lambda: os.setuid(os.getuid()),
                socket.socketpair,
                lambda: socket.socket(socket.AF_INET6),
                lambda: socket.if_indextoname(1),
                thread,
            )
        ]

    if system_calls._program(platform.machine(), 64) == b"":
        pytest.skip("no numbers for this machine")
    assert fork(run).report() == ["PermissionError"] * 7 + ["done"] * 4
    os.close(memory)


@pytest.mark.usefixtures("bpf_allowed")
def test_maps_of_flows_can_be_used_without_any_right_and_nothing_be_made(fork: Fork) -> None:
    """As the brain does it; Linux 5.19 or kernel.unprivileged_bpf_disabled=0."""
    with FlowMaps.create(16) as maps:
        key6, key4 = bytes(36), bytes(12)
        actions = (
            lambda: maps.insert([(key6, key4, 3)]),
            lambda: maps.set_prefixes([(0x20010DB8 << 96, 96)]),
            lambda: maps.remove([(key6, key4)]),
            lambda: maps.heartbeat(1),
            lambda: FlowMaps.create(16),
        )
        _, with_maps = confined(fork, *actions, uses_maps=True)
        _, without = confined(fork, *actions)
    assert with_maps == ["done", "done", "done", "done", "PermissionError"]
    assert without == ["PermissionError"] * 3 + ["done", "PermissionError"]

"""Fixtures for claims about the kernel: a network namespace for each test, and child processes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import socket
import subprocess
from multiprocessing import Pipe
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from faith.daemon.config.settings import KERNEL, RELAY
from faith.kernel.bpf import bpf
from faith.kernel.netlink import routes
from faith.kernel.nft import guard
from faith.lab.topology import PREFIX, SERVER
from faith.translation.prefix import Prefix
from tests.faithd import Faithd
from tests.netns import service, steered
from tests.netns.journal import Journal
from tests.netns.service import PORT, Echo

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from faith.lab import ThreeHosts

    Report = Callable[[object], None]
    Start = Callable[..., Faithd]
    Fork = Callable[[Callable[[Report], object]], "Child"]
    Arrive = Callable[[Sequence[_socket.socket], str, int], tuple[int, socket.socket]]

CLONE_NEWNET = 0x40000000


@pytest.fixture
def private_network() -> Iterator[None]:
    """Run the test in a network namespace of its own, with loopback up; it goes by itself."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net", "rb") as home:
        if libc.unshare(CLONE_NEWNET):
            pytest.skip(f"no network namespace: {os.strerror(ctypes.get_errno())}")
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            yield
        finally:
            assert libc.setns(home.fileno(), CLONE_NEWNET) == 0


@pytest.fixture
def all_descriptors() -> Iterator[None]:
    """This process and those it starts may have as many descriptors as root allows."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def bpf_allowed() -> None:
    """Skip the test where not even root may use BPF: in a user namespace."""
    try:
        bpf.Map.create(bpf.MAP_ARRAY, "test", key=4, value=4, entries=1).close()
    except PermissionError:
        _do_without("the kernel grants no BPF here")


@pytest.fixture(params=[RELAY, KERNEL])
def path(request: pytest.FixtureRequest) -> str:
    """How the sessions of a test go: it runs once for each."""
    if request.param == KERNEL:
        request.getfixturevalue("bpf_allowed")
    return str(request.param)


@pytest.fixture
def pins(tmp_path: Path, real_root: None) -> Iterator[Path]:
    """A directory that is a BPF file system, for what outlives a daemon."""
    directory = tmp_path / "bpf"
    directory.mkdir()
    subprocess.run(["mount", "-t", "bpf", "bpf", directory], check=True)
    yield directory
    subprocess.run(["umount", directory], check=True)


def _do_without(what: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"CI must run every test; {what}", pytrace=False)
    pytest.skip(what)


@pytest.fixture
def arrive() -> Arrive:
    """``arrive(listeners, address, port)`` connects to the latter.

    It returns the number of the listener that got it and the accepted socket.  Raises
    ConnectionRefusedError.
    """

    def arrive(
        listeners: Sequence[_socket.socket], address: str, port: int
    ) -> tuple[int, socket.socket]:
        with socket.create_connection((address, port), timeout=5):
            (ready,), _, _ = select.select(listeners, [], [], 5)
            fd, _ = ready._accept()  # type: ignore[attr-defined]
            return listeners.index(ready), socket.socket(fileno=fd)

    return arrive


@pytest.fixture
def on_gateway(lab: ThreeHosts) -> Iterator[None]:
    """The test runs on the gateway, where the prefixes of `steered` are reserved and guarded."""
    with lab.gateway.inside():
        for prefix in (steered.PREFIX, steered.OTHER):
            routes.reserve(prefix)
        guard.install([steered.PREFIX, steered.OTHER])
        yield


@pytest.fixture
def from_client(lab: ThreeHosts, arrive: Arrive) -> Arrive:
    """As `arrive`, but connects from the lab's client."""

    def connect(
        listeners: Sequence[_socket.socket], address: str, port: int
    ) -> tuple[int, socket.socket]:
        with lab.client.inside():
            return arrive(listeners, address, port)

    return connect


class ChildError(Exception):
    """A child ended by an exception; the message has its type and text."""


class Child:
    """A forked process that runs *body*, giving it a function to report values with."""

    def __init__(self, body: Callable[[Report], object]) -> None:
        self._reports, theirs = Pipe(duplex=False)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                theirs.send((True, body(lambda value: theirs.send((True, value)))))
            except BaseException as error:  # noqa: BLE001 - nothing may get back into pytest
                theirs.send((False, f"{type(error).__name__}: {error}"))
            finally:
                os._exit(0)
        theirs.close()

    def report(self) -> Any:
        """The next value the child reported, at the end what it returned.

        Raises ChildError.
        """
        assert self._reports.poll(10), "the child says nothing"
        good, value = self._reports.recv()
        if not good:
            raise ChildError(value)
        return value

    def kill(self) -> None:
        """End the child as SIGKILL does, and wait for it."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self._reports.close()
            self.pid = 0


@pytest.fixture
def fork() -> Iterator[Fork]:
    """Start children that do not outlive the test."""
    children: list[Child] = []

    def start(body: Callable[[Report], object]) -> Child:
        """Fork; *body* runs in the child."""
        children.append(Child(body))
        return children[-1]

    yield start
    for child in children:
        child.kill()


@pytest.fixture
def start(lab: ThreeHosts, tmp_path: Path) -> Start:
    """Start a faithd and wait until it serves."""
    count = iter(range(100))

    def start(*arguments: str, **environment: str) -> Faithd:
        faithd = Faithd(lab.gateway, tmp_path / f"log{next(count)}", *arguments, **environment)
        faithd.wait_said("serving")
        return faithd

    return start


@pytest.fixture
def reserved(lab: ThreeHosts) -> str:
    """The lab's prefix, reserved and guarded as ``faith -e`` does it."""
    with lab.gateway.inside():
        guard.install([Prefix.parse(PREFIX)])
        routes.reserve(Prefix.parse(PREFIX))
    return PREFIX


@pytest.fixture
def echo(lab: ThreeHosts) -> Iterator[Echo]:
    """A server on PORT that says what it hears."""
    with contextlib.closing(Echo(lab.server, PORT, SERVER)) as server:
        yield server


@pytest.fixture
def listener(lab: ThreeHosts) -> Iterator[socket.socket]:
    """The server's, on PORT."""
    with service.listener(lab.server, PORT) as made:
        made.settimeout(5)
        yield made


@pytest.fixture
def journal(need: Callable[[str], str]) -> Iterator[Journal]:
    journald, journalctl = need("/lib/systemd/systemd-journald"), need("journalctl")
    with contextlib.closing(Journal(journald, journalctl)) as journal:
        yield journal

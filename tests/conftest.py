"""What every test may ask for: networks of namespaces, and programs of the machine."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import signal
import socket
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from hypothesis import Phase, settings

from faith.errors import SetupError
from faith.lab import Network, ThreeHosts, gain_rights, three_hosts
from faith.lab.namespace import has_private_mounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from xdist.remote import Producer
    from xdist.scheduler import Scheduling
    from xdist.workermanage import WorkerController

# The gate says the same of the same tree; at a desk every run looks somewhere else.
settings.register_profile("gate", derandomize=True, deadline=None)
settings.register_profile("desk", deadline=None)
settings.register_profile(  # scripts/mutate asks only whether there is a failure
    "mutation",
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    report_multiple_bugs=False,
)
settings.load_profile("gate" if os.environ.get("CI") else "desk")

_NO_NETWORKS = "faith_no_networks"
_reason = pytest.StashKey[str]()
"""Why no network can be built."""


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that all users of this machine come to, unlike those of ``tmp_path``."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name).resolve()
        directory.chmod(0o755)
        if not all(parent.stat().st_mode & 0o001 for parent in directory.parents):
            pytest.skip(f"not all users come to {directory.parent}")
        yield directory


def pytest_configure() -> None:
    """Let Ctrl-C mean something to what is started: a shell's background jobs ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """Gain the right to build networks for all workers, which inherit it and have threads."""
    _gain_rights(config)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: WorkerController) -> None:
    """Tell a worker what became of it."""
    node.workerinput[_NO_NETWORKS] = node.config.stash.get(_reason, "")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """Share the files out as tests/sharing.py says."""
    if config.option.dist != "loadfile":
        return None
    from tests.sharing import Files

    return Files(config, log)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Gain the right to build networks, before there are threads: see gain_rights()."""
    gc.freeze()  # tests that have garbage collected would wait for a look at all other tests
    told = getattr(session.config, "workerinput", None)
    if told is not None:
        session.config.stash[_reason] = told[_NO_NETWORKS]
    elif any(item.get_closest_marker("netns") for item in session.items):
        _gain_rights(session.config)


def _gain_rights(config: pytest.Config) -> None:
    try:
        gain_rights()
    except SetupError as error:
        config.stash[_reason] = str(error)
    if has_private_mounts():
        _set_loopback_up()  # the namespace's own is down, and tests use it


def _set_loopback_up() -> None:
    siocsifflags, iff_up = 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, siocsifflags, struct.pack("16sH22x", b"lo", iff_up))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let no test run that needs a network where none can be built."""
    reason = item.config.stash.get(_reason, "")
    if reason and item.get_closest_marker("netns"):
        do_without(f"no network of namespaces: {reason}")


def do_without(what: str) -> NoReturn:
    """Skip this test for want of something; where CI is set, nothing may be wanting."""
    if os.environ.get("CI"):
        pytest.fail(f"CI must run every test; {what}", pytrace=False)
    pytest.skip(what)


@pytest.fixture
def network() -> Iterator[Network]:
    """An empty network, taken away after the test."""
    with Network() as network:
        yield network


@pytest.fixture
def lab(network: Network) -> ThreeHosts:
    """An IPv6-only client, a gateway and an IPv4-only server."""
    return three_hosts(network)


@pytest.fixture
def real_root() -> None:
    """Skip the test where there are no other users to become: in a user namespace."""
    if os.geteuid() != 0 or not has_other_users():
        do_without("it takes root and other users")


def has_other_users() -> bool:
    """Whether one can become another user: not in a user namespace that maps one alone."""
    return len(Path("/proc/self/uid_map").read_text().split()[2]) >= 5


@pytest.fixture(scope="session")
def need() -> Callable[[str], str]:
    """``need("telnetd")`` is the path of that program; without it the test is skipped."""

    def find(program: str) -> str:
        if program in os.environ.get("FAITH_NO_PACKAGE", "").split():  # says scripts/check
            pytest.skip(f"no package has {program} here")
        path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/local/sbin:/usr/sbin:/sbin")
        return path or do_without(f"{program} is not installed")

    return find

"""What each process of a daemon has open: of the supervisor's descriptors a child has its own.

A copy that a child keeps is no small thing.  The one of a socket that owns an nftables table keeps
the table when the supervisor has died, one of a listener holds connections that nobody accepts, and
one of a client of the control socket keeps it waiting.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.lab import wait_until
from faith.lab.topology import CLIENT, GATEWAY_V4, PREFIX
from tests.dns.program import FaithDns
from tests.faithd import WITHOUT_BPF
from tests.netns.ftp_server import FtpServer
from tests.netns.gateway import Gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.lab import ThreeHosts

pytestmark = pytest.mark.netns

EVERYTHING = """
workers = 2
[metrics]
listen = "[::1]:9064"
[[prefix]]
address = "{prefix}"
via = "{via}"
[[service]]
ports = "21"
[[map]]
v4 = "192.0.2.102"
v6 = "{client}"
[dns]
listen = ["{gateway}:53"]
forward = ["{client}"]
pool = ["198.51.100.0/29"]
pool_file = "{directory}/pool"
[ping]
[udp]
"""
_NETLINK = {"0": "rtnetlink", "12": "nfnetlink"}
_UNIX = {"0001": "unix-stream", "0002": "unix-datagram", "0005": "unix-seqpacket"}
_WITHOUT_IDENTITY = "eventfd", "eventpoll", "io_uring"
_OWN = {*_WITHOUT_IDENTITY, "pipe", "unix-stream", "socket", "null"}
"""Made by the loop of a process, or kept by it for later: as many as there may be."""

WORKER = "log tcp tcp6"
SHARED = {
    "worker": WORKER,
    "other worker": WORKER,
    "name server": "log pool",
    "ping server": "log nfnetlink raw raw6 raw6",
    "UDP server": "log raw raw raw6 raw6 raw6 udp udp6",
    "admin listener": "log tcp6",
}
"""What a child and its supervisor have both, beside the standard streams."""
FOR_ITSELF = {"name server": "rtnetlink tcp udp unix-seqpacket"}
"""What a child has opened for itself; of most, its end of the channel is all."""
ANEW = Counter(["faith-clients", "named-unix-seqpacket", "pipe", "rtnetlink"])
ANEW.update(["nfnetlink", "socket"])  # notices of chains, and ARP
ANEW["unix-seqpacket"] = len(SHARED)
"""What the next program opens in the place of this one's: the channels to its own children, too."""


class Open:
    """What *pid* has open beside its standard streams."""

    def __init__(self, pid: int) -> None:
        self._sockets = dict(_sockets(pid))
        self._kinds: dict[str, str] = {}  # by an identity that is the same in every process
        for one in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if int(one.name) > 2:
                    self._look_at(one)

    def _look_at(self, one: Path) -> None:
        path, inode = os.readlink(one), one.stat().st_ino
        kind = re.sub(r":\[\d+\]| \(deleted\)|^anon_inode:|^/memfd:|.*/", "", path).strip("[]")
        if kind == "socket":
            kind = self._sockets.get(str(inode), kind)
        info = (one.parents[1] / "fdinfo" / one.name).read_text()
        numbers = re.search(r"^(?:map|link)_id:\s*(\d+)$", info, re.MULTILINE)
        identity = f"{path} {inode} {numbers[1] if numbers else ''}"
        if kind in _WITHOUT_IDENTITY:
            identity = str(one)
        self._kinds[identity] = kind

    def without(self, other: Open) -> Counter[str]:
        """The kinds of what it has and *other* does not."""
        return Counter(kind for one, kind in self._kinds.items() if one not in other._kinds)

    def shared(self, other: Open) -> Counter[str]:
        """The kinds of what both have."""
        return Counter(kind for one, kind in self._kinds.items() if one in other._kinds)


def settled(pid: int) -> Open:
    """What *pid* has open, without a socket that it makes for a worker at this very moment."""
    looks = [Open(pid)]

    def is_as_before() -> bool:
        looks.append(Open(pid))
        return not looks[-2].without(looks[-1]) and not looks[-1].without(looks[-2])

    wait_until(is_as_before, 15, "nothing opened or closed between two looks")
    return looks[-1]


def _sockets(pid: int) -> Iterator[tuple[str, str]]:
    """The inode of every socket in the process's network namespace, and its kind."""
    tables = Path(f"/proc/{pid}/net")

    def lines(name: str) -> Iterator[list[str]]:
        return map(str.split, (tables / name).read_text().splitlines()[1:])

    for name in ("tcp", "tcp6", "udp", "udp6", "raw", "raw6"):
        yield from ((line[9], name) for line in lines(name))
    for line in lines("unix"):
        kind = _UNIX[line[4]]
        yield line[6], f"named-{kind}" if line[7:] else kind
    for line in lines("netlink"):
        yield line[9], _NETLINK.get(line[1], "netlink")


def words(kinds: Counter[str]) -> str:
    return " ".join(sorted(kinds.elements()))


def children(daemon: Gateway | FaithDns) -> list[tuple[str, str]]:
    """What each child shares with its supervisor, and what it has opened for itself."""
    theirs, found = Open(daemon.process.pid), []
    for pid in daemon.workers:
        with contextlib.suppress(FileNotFoundError):  # it has ended
            ours = Open(pid)
            own = Counter({k: n for k, n in ours.without(theirs).items() if k not in _OWN})
            found.append((words(ours.shared(theirs)), words(own)))
    return sorted(found)


EXPECTED = sorted((some, FOR_ITSELF.get(who, "unix-seqpacket")) for who, some in SHARED.items())


@pytest.fixture(params=["sk_lookup", "tproxy"])
def gateway(request: pytest.FixtureRequest, lab: ThreeHosts, tmp_path: Path) -> Iterator[Gateway]:
    """A daemon that does all it can, with BPF or without, and that has had both kinds of FTP."""
    with_bpf = request.param == "sk_lookup"
    if with_bpf:
        request.getfixturevalue("bpf_allowed")
    text = EVERYTHING.format(
        prefix=PREFIX, via=request.param, client=CLIENT, gateway=GATEWAY_V4, directory=tmp_path
    )
    made = Gateway(lab, tmp_path, text, by=() if with_bpf else WITHOUT_BPF)
    with contextlib.closing(FtpServer(lab.server)):
        for command in (b"AUTH TLS", b"EPSV"):
            session: socket.socket = lab.client.call(socket.create_connection, (lab.mapped(), 21))
            with session, session.makefile("rb") as replies:
                session.settimeout(5)
                assert [replies.readline()[:4] for _ in range(2)] == [b"220-", b"220 "]
                session.sendall(command + b"\r\n")
                assert replies.readline()[:1] == b"2"
    yield made
    made.stop()


def test_a_child_has_what_is_its_own_of_the_supervisors(gateway: Gateway) -> None:
    """Every child is replaced: it is forked when the supervisor has everything open that it can."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.connect(str(gateway.control))
        for pid in gateway.workers:
            os.kill(pid, signal.SIGKILL)
        gateway.wait_said("another takes its place", len(SHARED), 15)
        with contextlib.suppress(TimeoutError):  # the difference says more
            wait_until(lambda: children(gateway) == EXPECTED, 15, "every child in its place")
        assert children(gateway) == EXPECTED


def test_the_next_program_has_all_that_it_does_not_open_anew(gateway: Gateway) -> None:
    """What a state did not mark would be closed when the next program is executed."""
    for program in (2, 3):
        before = settled(gateway.process.pid)
        gateway.signal(signal.SIGUSR2)
        gateway.wait_said(f"upgraded to program {program}", seconds=30)
        wait_until(lambda: len(gateway.workers) == len(SHARED), 15, "the old processes gone")
        after = settled(gateway.process.pid)
        numbers = Counter({"faith-numbers": 1})  # two of them: its own, and the predecessor's
        assert before.without(after) == (ANEW + numbers if program > 2 else ANEW)
        assert after.without(before) == ANEW + numbers


def test_so_has_a_child_of_faith_dns(lab: ThreeHosts, tmp_path: Path) -> None:
    pool = "--pool", "198.51.100.0/29", "--pool-file", str(tmp_path / "pool")
    words = "--forward", CLIENT, "--metrics", "[::1]:9064", *pool
    daemon = FaithDns(lab.gateway, tmp_path / "log", *words)
    for pid in daemon.workers:
        os.kill(pid, signal.SIGKILL)
    daemon.wait_said("another takes its place", 2)
    expected = [SHARED["name server"], SHARED["admin listener"]]
    with contextlib.suppress(TimeoutError):  # the difference says more
        wait_until(lambda: [some for some, _ in children(daemon)] == expected, 15, "two children")
    assert [some for some, _ in children(daemon)] == expected
    daemon.process.terminate()
    assert daemon.process.wait(5) == 0

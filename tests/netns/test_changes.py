"""What a reload can change only by a program that takes over: ports, workers, user, files."""

from __future__ import annotations

import contextlib
import pwd
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.kernel.netlink import routes
from faith.lab.topology import GATEWAY_V6, PREFIX, SERVER
from tests.dns.zones import EXAMPLE, NameServer, Zones
from tests.netns.ftp_server import FtpServer
from tests.netns.gateway import Gateway, metrics
from tests.netns.service import PORT, Echo, answers, connect, refuses, relays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.lab import ThreeHosts

pytestmark = pytest.mark.netns

OTHER_PORT = 8000
USERS = ("nobody", "daemon")


@pytest.fixture(params=["route", "sk_lookup", "tproxy", "redirect"])
def via(request: pytest.FixtureRequest) -> str:
    """Each way of steering that is possible here."""
    if request.param == "sk_lookup":
        request.getfixturevalue("bpf_allowed")
    return str(request.param)


@pytest.fixture(autouse=True)
def _echo(lab: ThreeHosts) -> Iterator[None]:
    """The server says again what it hears on both ports."""
    with contextlib.ExitStack() as undo:
        for port in (PORT, OTHER_PORT):
            undo.enter_context(contextlib.closing(Echo(lab.server, port)))
        yield


@pytest.fixture
def start(lab: ThreeHosts, tmp_path: Path) -> Callable[[str], Gateway]:
    return lambda text: Gateway(lab, tmp_path, text)


def written(ports: str, via: str = "auto", workers: int = 2, more: str = "") -> str:
    return f"""
workers = {workers}
[[prefix]]
address = "{PREFIX}"
via = "{via}"
[[service]]
ports = "{ports}"
{more}"""


def test_ports_come_and_go_under_traffic(
    lab: ThreeHosts, start: Callable[[str], Gateway], via: str
) -> None:
    faithd = start(written(f"{PORT}", via))
    assert refuses(lab, OTHER_PORT)
    with connect(lab) as first:
        assert answers(first)
        faithd.reload(written(f"{PORT},{OTHER_PORT}", via))
        assert answers(first)
        with connect(lab, port=OTHER_PORT) as second:
            assert answers(second)
            assert relays(lab)
            faithd.reload(written(f"{OTHER_PORT}", via))
            assert refuses(lab)
            assert relays(lab, OTHER_PORT)
            assert answers(first), "what is there goes on, whatever its port"
            assert answers(second)
    assert faithd.stop() == 0
    with lab.gateway.inside():
        assert not routes.reserved()


def test_a_local_server_comes_and_goes(
    lab: ThreeHosts, start: Callable[[str], Gateway], via: str
) -> None:
    faithd = start(written(f"{PORT}", via))
    faithd.reload(written(f"{PORT}", via, more='server = ["/bin/cat"]'))
    with connect(lab, GATEWAY_V6) as own:
        assert answers(own)
        faithd.reload(written(f"{PORT}", via))
        assert answers(own)
    assert not served(lab)
    assert relays(lab)


def served(lab: ThreeHosts) -> bool:
    """Return whether there is a local server."""
    try:
        with connect(lab, GATEWAY_V6) as own:
            return answers(own)
    except OSError:
        return False


@pytest.mark.parametrize("others", [1, 5])
def test_workers_become_more_and_fewer(
    lab: ThreeHosts, start: Callable[[str], Gateway], via: str, others: int
) -> None:
    faithd = start(written(f"{PORT}", via, workers=2))
    with busy(lab), connect(lab) as session:
        assert answers(session)
        for number in (others, 2):
            faithd.reload(written(f"{PORT}", via, workers=number))
            assert len(faithd.workers) == number
            assert answers(session)
            assert all(relays(lab) for _ in range(20))


@contextlib.contextmanager
def busy(lab: ThreeHosts) -> Iterator[None]:
    """Within the block, there is one new session after another, and all are relayed."""
    over = threading.Event()
    results: list[bool] = []

    def connect_and_end() -> None:
        while not over.is_set():
            results.append(relays(lab))

    with ThreadPoolExecutor(1) as pool:
        going = pool.submit(connect_and_end)
        try:
            yield
        finally:
            over.set()
        going.result()
    assert all(results)
    assert len(results) > 10


def test_a_port_becomes_ftps(lab: ThreeHosts, start: Callable[[str], Gateway]) -> None:
    server = FtpServer(lab.server)
    faithd = start(written(f"{PORT}"))
    faithd.reload(written("ftp"))
    with connect(lab, port=21) as control, control.makefile("rb") as replies:
        assert [replies.readline()[:4] for _ in range(2)] == [b"220-", b"220 "]
        control.sendall(b"EPSV\r\n")
        assert replies.readline().startswith((b"229 ", b"530 "))
    server.close()


def test_a_port_becomes_ftps_beside_an_encrypted_session(
    lab: ThreeHosts, start: Callable[[str], Gateway]
) -> None:
    """All that comes to a server from who has such a session comes another way."""
    servers = [FtpServer(lab.server), FtpServer(lab.server, 2121)]
    alg = """
[[service]]
ports = "2121"
alg = "{}"
"""
    faithd = start(written("ftp", more=alg.format("none")))
    with connect(lab, port=21) as secured, secured.makefile("rb") as replies:
        secured.sendall(b"AUTH TLS\r\n")
        assert [replies.readline()[:3] for _ in range(3)] == [b"220", b"220", b"234"]
        for name, asked_as in ("none", b"EPSV\r\n"), ("ftp", b"PASV\r\n"):
            faithd.reload(written("ftp", more=alg.format(name)))
            with connect(lab, port=2121) as control, control.makefile("rb") as heard:
                control.sendall(b"EPSV\r\n")
                assert [heard.readline()[:3] for _ in range(3)] == [b"220", b"220", b"229"]
            assert servers[1].heard[-1] == asked_as
    assert "another program takes over" not in faithd.said
    for server in servers:
        server.close()


def test_other_files_and_another_user(
    lab: ThreeHosts, start: Callable[[str], Gateway], tmp_path: Path
) -> None:
    faithd = start(f'user = "{USERS[0]}"\n{written(str(PORT))}')
    elsewhere = tmp_path / "elsewhere"
    faithd.reload(
        f'control = "{elsewhere}"\npid_file = "{tmp_path}/pid"\nuser = "{USERS[1]}"'
        f"\n{written(str(PORT))}"
    )
    assert not faithd.control.exists()
    assert elsewhere.is_socket()
    assert (tmp_path / "pid").read_text() == f"{faithd.process.pid}\n"
    owners = {Path(f"/proc/{pid}").stat().st_uid for pid in faithd.workers}
    assert owners == {pwd.getpwnam(USERS[1]).pw_uid}
    assert relays(lab)
    assert faithd.stop() == 0
    assert not elsewhere.exists()


def test_what_cannot_be_changes_nothing(
    lab: ThreeHosts, start: Callable[[str], Gateway], tmp_path: Path
) -> None:
    text = written(f"{PORT}", "route")
    faithd = start(text)
    taken = lab.gateway.call(lambda: socket.create_server(("::", 7777), family=socket.AF_INET6))
    with connect(lab) as session, taken:
        assert answers(session)
        for change, why in (
            (written(f"{PORT},7777", "route"), "7777"),
            (written(f"{PORT},8000-8999", "route"), "64 is the most"),
            (written(f"{PORT},{OTHER_PORT}", "tproxy"), "prefix.via: to change this"),
        ):
            with pytest.raises(subprocess.CalledProcessError) as told:
                faithd.reload(change)
            assert why in told.value.stderr
            assert answers(session)
            assert relays(lab)
            assert refuses(lab, OTHER_PORT)
    faithd.write(text)
    assert faithd.said.count("everything stays as it was") == 3
    assert faithd.stop() == 0


def test_they_are_counted_like_other_reloads(
    lab: ThreeHosts, start: Callable[[str], Gateway]
) -> None:
    tell = '[metrics]\nlisten = "[::1]:9064"\n'
    start_with, change = (written(ports, more=tell) for ports in (f"{PORT}", f"{PORT},8000"))
    faithd = start(start_with)

    def counted() -> list[float]:
        told = metrics(lab)
        return [told[f'faith_reloads_total{{result="{result}"}}'] for result in ("good", "failed")]

    assert counted() == [0, 0]
    faithd.reload(change)
    assert counted() == [1, 0]
    with lab.gateway.call(lambda: socket.create_server(("::", 7777), family=socket.AF_INET6)):
        with pytest.raises(subprocess.CalledProcessError):
            faithd.reload(written(f"{PORT},7777", "route", more=tell))
        assert counted() == [1, 1]
    faithd.reload(change + "[limits]\nsessions = 20\n")
    faithd.reload(start_with)
    assert counted() == [3, 1]


def test_names_that_could_not_be_served_stop_an_upgrade(
    lab: ThreeHosts, start: Callable[[str], Gateway]
) -> None:
    names = f'[dns]\nlisten = ["[{GATEWAY_V6}]:53"]\nforward = ["{SERVER}"]\n'
    zone = EXAMPLE
    with lab.server.call(lambda: NameServer(Zones(zone), SERVER, 53)):
        faithd = start(written(f"{PORT}", more=names))
        taken = lab.gateway.call(
            lambda: socket.create_server((GATEWAY_V6, 54), family=socket.AF_INET6)
        )
        change = written(f"{PORT},{OTHER_PORT}", more=names.replace(":53", ":54"))
        with taken, pytest.raises(subprocess.CalledProcessError) as told:
            faithd.reload(change)
        assert "the port is taken by" in told.value.stderr
        assert relays(lab)
        faithd.reload(change)
        assert relays(lab, OTHER_PORT)

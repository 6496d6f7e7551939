"""The files of contrib/inetd, read by the programs they are written for."""

from __future__ import annotations

import os
import shlex
import socket
import sys
from configparser import ConfigParser, SectionProxy
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.kernel.netlink import routes
from faith.kernel.nft import guard
from faith.kernel.sockets import tcp_sockets
from faith.lab.topology import GATEWAY_V6, SERVER
from faith.translation.ports import Ports
from faith.translation.prefix import Prefix
from tests.peers.site import Site

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Sequence

    from faith.lab import ThreeHosts

pytestmark = [pytest.mark.netns, pytest.mark.peers]

ROOT = Path(__file__).parents[2]
CONTRIB = ROOT / "contrib" / "inetd"
TELNET, SSH = 23, 22
IAC = b"\xff"
ACTIVATE = "systemd-socket-activate"
ACCEPTING = ["--inetd", "--accept", f"--setenv=PYTHONPATH={ROOT}"]
TAKE_OVER = """\
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
os.execv(sys.argv[2], sys.argv[2:])
"""


class Gateway:
    """A gateway with the prefix reserved and guarded, and files as they would be installed."""

    def __init__(self, lab: ThreeHosts, directory: Path, need: Callable[[str], str]) -> None:
        self.lab = lab
        self.need = need
        self._directory = directory
        self._faithd = directory / "faithd"
        script = (ROOT / "bin" / "faithd").read_text()
        self._faithd.write_text(script.replace("/usr/bin/env python3", sys.executable))
        self._faithd.chmod(0o755)
        self.reserve()

    def reserve(self, opened: str = "") -> None:
        """``faith -e -p PREFIX``, with ``--open`` when ports are given."""
        prefix = Prefix.parse(self.lab.prefix)
        ports = Ports.parse(opened, socket.getservbyname) if opened else Ports([])
        self.lab.gateway.call(routes.reserve, prefix)
        self.lab.gateway.call(guard.install, [prefix], ports)

    def install(self, name: str) -> Path:
        """A copy of the shipped file, with the path at which this faithd is."""
        shipped = (CONTRIB / name).read_text()
        installed = self._directory / name
        installed.write_text(shipped.replace("/usr/local/bin/faithd", str(self._faithd)))
        return installed

    def start(self, program: str, *arguments: str | Path, fds: Sequence[int] = ()) -> None:
        """Start an inetd, and return when it listens."""
        with (self._directory / "log").open("a") as log:
            inetd = self.lab.gateway.popen(
                [self.need(program), *arguments],
                stdout=log,
                stderr=log,
                pass_fds=fds,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        self.lab.gateway.wait_listening(TELNET, socket.AF_INET6, program=inetd)

    def connect(self, address: str, port: int) -> socket.socket:
        return self.lab.client.call(socket.create_connection, (address, port), 10)

    def assert_relays(self, port: int) -> None:
        listener = self.lab.server.call(socket.create_server, (SERVER, port))
        with listener, self.connect(self.lab.mapped(), port) as client:
            listener.settimeout(10)
            server, _ = listener.accept()
            with server:
                client.sendall(b"question")
                client.shutdown(socket.SHUT_WR)
                assert server.makefile("rb").read() == b"question"
                server.sendall(b"answer")
            assert client.makefile("rb").read() == b"answer"

    def assert_serves_telnet_itself(self) -> None:
        self.need("telnetd")
        with self.connect(GATEWAY_V6, TELNET) as client:
            assert client.recv(1) == IAC


@pytest.fixture
def gateway(lab: ThreeHosts, tmp_path: Path, need: Callable[[str], str]) -> Gateway:
    return Gateway(lab, tmp_path, need)


def test_openbsd_inetd(gateway: Gateway) -> None:
    gateway.reserve("telnet,ssh")
    gateway.start("inetd", "-i", gateway.install("inetd.conf"))
    gateway.assert_relays(TELNET)
    gateway.assert_relays(SSH)
    gateway.assert_serves_telnet_itself()


def test_xinetd(gateway: Gateway, tmp_path: Path) -> None:
    Site(gateway.lab.gateway, tmp_path, gateway.need).need_other_users()
    gateway.reserve("telnet")
    configuration = gateway.install("faithd-telnet.xinetd")
    pid_file = tmp_path / "xinetd.pid"
    gateway.start("xinetd", "-dontfork", "-f", configuration, "-pidfile", pid_file)
    gateway.assert_relays(TELNET)
    gateway.assert_serves_telnet_itself()


def unit(path: Path) -> ConfigParser:
    parser = ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(path.read_text())
    return parser


@pytest.fixture
def listening() -> SectionProxy:
    """What the socket unit listens on, and how."""
    return unit(CONTRIB / "faithd-telnet.socket")["Socket"]


@pytest.fixture
def command(gateway: Gateway) -> list[str]:
    """What the service unit executes, for a connection as its standard input."""
    service = unit(gateway.install("faithd-telnet@.service"))["Service"]
    assert service["StandardInput"] == "socket"
    return shlex.split(service["ExecStart"].removeprefix("-"))


def test_systemd(gateway: Gateway, listening: SectionProxy, command: list[str]) -> None:
    gateway.reserve("telnet")
    address = listening["ListenStream"]
    gateway.start(ACTIVATE, *ACCEPTING, f"--listen={address}", *command)
    gateway.assert_relays(TELNET)
    gateway.assert_serves_telnet_itself()


def test_systemd_needs_no_open_port(
    gateway: Gateway, listening: SectionProxy, command: list[str]
) -> None:
    assert listening["Transparent"] == "yes"
    with gateway.lab.gateway.inside():
        listener = tcp_sockets.listener("::", TELNET, transparent=True)
    start_on(gateway, listener, command)
    gateway.assert_relays(TELNET)
    gateway.assert_serves_telnet_itself()


def test_units_are_sound(gateway: Gateway) -> None:
    gateway.install("faithd-telnet@.service")
    unit_file = str(gateway.install("faithd-telnet.socket"))
    analyze = gateway.need("systemd-analyze")
    result = gateway.lab.gateway.run([analyze, "--man=no", "verify", unit_file])
    assert result.stdout + result.stderr == ""


def test_ordinary_listener_needs_one(gateway: Gateway, command: list[str]) -> None:
    with gateway.lab.gateway.inside():
        listener = tcp_sockets.listener("::", TELNET, transparent=False)
    start_on(gateway, listener, command)
    with pytest.raises(ConnectionRefusedError):
        gateway.assert_relays(TELNET)
    gateway.assert_serves_telnet_itself()


def start_on(gateway: Gateway, listener: _socket.socket, command: list[str]) -> None:
    """Start systemd-socket-activate on a listener; it could not make a transparent one itself."""
    activate = [gateway.need(ACTIVATE), *ACCEPTING, *command]
    words = ["-Ic", TAKE_OVER, str(listener.fileno()), *activate]
    gateway.start(sys.executable, *words, fds=[listener.fileno()])
    listener.close()

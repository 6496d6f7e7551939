"""A faithd with sockets that systemd has opened: it serves on them, and they outlive it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
from typing import TYPE_CHECKING

import dns.message
import dns.query
import pytest

from faith.kernel.sockets.tcp_sockets import IPV6_TRANSPARENT
from faith.lab import wait_until
from faith.lab.topology import GATEWAY_V4, GATEWAY_V6, PREFIX, SERVER
from tests.certificates import certify
from tests.dns.zones import EXAMPLE, NameServer, Zones
from tests.faithd import ENVIRONMENT, FAITHD
from tests.netns.service import PORT, answers, connect, relays

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from faith.lab import Host, ThreeHosts
    from tests.certificates import Certify

__all__ = ["certify"]

pytestmark = pytest.mark.netns

PASS = """
import os, sys
for number, descriptor in enumerate(map(int, sys.argv[1].split(",")), 3):
    os.dup2(descriptor, number)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Passes descriptors on as systemd does, to a program in this very process."""


class Systemd:
    """Opens sockets in the gateway by their names, and starts faithd with them, again and again."""

    def __init__(self, lab: ThreeHosts, directory: Path) -> None:
        self._lab = lab
        self._log = directory / "log"
        self._sockets: list[tuple[str, socket.socket]] = []
        self._undo = contextlib.ExitStack()

    def open(self, name: str, family: int, kind: int, to: object, *, transparent: bool) -> None:
        def opened() -> socket.socket:
            sock = socket.socket(family, kind)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, transparent)
            sock.bind(to)  # type: ignore[arg-type]
            if kind != socket.SOCK_DGRAM:
                sock.listen(64)
            return sock

        sock = self._undo.enter_context(self._lab.gateway.call(opened))
        self._sockets.append((name, sock))

    def listen_to_all(self, name: str, port: int) -> None:
        """Open a listener of both families."""

        def opened() -> socket.socket:
            return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)

        sock = self._undo.enter_context(self._lab.gateway.call(opened))
        self._sockets.append((name, sock))

    def listen(self, name: str, address: str, port: int, *, transparent: bool = False) -> None:
        to = address, port
        self.open(name, socket.AF_INET6, socket.SOCK_STREAM, to, transparent=transparent)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start it, in the foreground because systemd did."""
        descriptors = [str(sock.fileno() + 100) for _, sock in self._sockets]
        copies = [os.dup2(sock.fileno(), sock.fileno() + 100) for _, sock in self._sockets]
        with self._log.open("ab") as log:
            program = self._lab.gateway.popen(
                [sys.executable, "-c", PASS, ",".join(descriptors), *FAITHD, *arguments],
                stderr=log,
                pass_fds=copies,
                env={
                    **ENVIRONMENT,
                    "LISTEN_FDS": str(len(self._sockets)),
                    "LISTEN_FDNAMES": ":".join(name for name, _ in self._sockets),
                },
            )
        for copy in copies:
            os.close(copy)
        return program

    @property
    def said(self) -> str:
        return self._log.read_text()

    def wait_said(self, text: str, times: int = 1) -> None:
        wait_until(lambda: self.said.count(text) >= times, 15, f"{text}, not {self.said}")

    def close(self) -> None:
        self._undo.close()


@pytest.fixture
def systemd(lab: ThreeHosts, tmp_path: Path) -> Iterator[Systemd]:
    made = Systemd(lab, tmp_path)
    yield made
    made.close()


def stop(program: subprocess.Popen[str]) -> None:
    program.send_signal(signal.SIGTERM)
    assert program.wait(10) == 0


@pytest.mark.usefixtures("echo")
def test_who_comes_during_a_restart_is_served_after_it(lab: ThreeHosts, systemd: Systemd) -> None:
    systemd.listen("service", "::", PORT, transparent=True)
    lab.gateway.run([sys.executable, "-m", "faith.cli.faith", "-e", "-p", PREFIX], env=ENVIRONMENT)
    program = systemd.start("--workers", "3", str(PORT))
    systemd.wait_said("by route")
    assert all(relays(lab) for _ in range(10))
    stop(program)
    with connect(lab) as early:
        early.settimeout(15)
        program = systemd.start("--workers", "1", str(PORT))
        assert answers(early)
        program.send_signal(signal.SIGUSR2)
        systemd.wait_said("upgraded to program 2")
        assert answers(early)
        assert relays(lab)
    stop(program)


@pytest.mark.usefixtures("echo")
def test_all_parts_by_a_file(lab: ThreeHosts, systemd: Systemd, tmp_path: Path) -> None:
    path, file = tmp_path / "control", tmp_path / "faith.toml"
    text = (
        f'control = "{path}"\nworkers = 1\n[[prefix]]\naddress = "{PREFIX}"\n'
        f'[[service]]\nports = "{PORT}"\n'
    )
    file.write_text(f'{text}[dns]\nforward = ["{SERVER}"]\nworkers = 2\n')
    systemd.listen("service", "::", PORT, transparent=True)
    systemd.listen("metrics", "::1", 9064)
    systemd.open("control", socket.AF_UNIX, socket.SOCK_SEQPACKET, str(path), transparent=False)
    to = GATEWAY_V6, 53
    systemd.open("dns", socket.AF_INET6, socket.SOCK_DGRAM, to, transparent=False)
    systemd.listen("dns", *to)
    zone = f"{EXAMPLE}www 60 IN A {SERVER}\n"

    def asked(ask: Callable[..., dns.message.Message]) -> list[str]:
        query = dns.message.make_query("www.example.", "AAAA")
        reply = lab.client.call(lambda: ask(query, GATEWAY_V6, timeout=5))
        return [str(rdata) for rrset in reply.answer for rdata in rrset]

    def told(*words: str) -> str:
        command = [sys.executable, "-m", "faith.cli.faith", *words, "--control", str(path)]
        return lab.gateway.run(command, env=ENVIRONMENT).stdout

    with lab.server.call(lambda: NameServer(Zones(zone), SERVER, 53)):
        program = systemd.start("--config", str(file))
        systemd.wait_said("serving")
        for number in (2, 3):
            assert relays(lab)
            assert asked(dns.query.udp) == asked(dns.query.tcp) == [lab.mapped()]
            assert b" 200 " in lab.gateway.call(ready)
            assert "[]" in told("sessions", "--json")
            assert "in force" in told("reload")
            program.send_signal(signal.SIGUSR2)
            systemd.wait_said(f"upgraded to program {number}")
        file.write_text(file.read_text().replace(str(PORT), "80"))
        with pytest.raises(subprocess.CalledProcessError) as refused:
            told("reload")
        assert f"service.ports: 80, but systemd has opened {PORT}" in refused.value.stderr
        assert relays(lab)
    stop(program)
    assert path.exists(), "it is systemd's to take away"


@pytest.mark.usefixtures("echo")
def test_clients_of_a_proxy_wait_while_it_is_restarted(
    lab: ThreeHosts, systemd: Systemd, tmp_path: Path, certify: Certify
) -> None:
    certificate, key = certify("proxy")
    file, path = tmp_path / "faith.toml", tmp_path / "control"
    secured = f'[[proxy]]\nlisten = ":1081"\ntls_certificate = "{certificate}"\ntls_key = "{key}"\n'
    text = f'workers = 3\ncontrol = "{path}"\n[[proxy]]\nlisten = ":1080"\n'
    file.write_text(text + secured)
    systemd.listen_to_all("proxy", 1080)
    systemd.listen_to_all("proxy", 1081)

    def begun(host: Host, gateway: str, port: int = 1080) -> socket.socket:
        return host.call(lambda: socket.create_connection((gateway, port), 15))

    def is_served(sock: socket.socket) -> bool:
        with sock, sock.makefile("rb") as answer:
            sock.sendall(b"\5\1\0\5\1\0\1" + socket.inet_aton(SERVER) + PORT.to_bytes(2, "big"))
            if answer.read(12)[:4] != b"\5\0\5\0":
                return False
            sock.sendall(b"hello")
            return answer.read(5) == b"hello"

    def is_served_by_tls(sock: socket.socket) -> bool:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(certificate)
        with context.wrap_socket(sock) as secured:
            secured.sendall(b"\5\1\0")
            return secured.recv(2) == b"\5\0"

    program = systemd.start("--config", str(file))
    systemd.wait_said("serving")
    assert all(is_served(begun(lab.client, GATEWAY_V6)) for _ in range(10))
    assert is_served(begun(lab.server, GATEWAY_V4))
    program.send_signal(signal.SIGUSR2)
    systemd.wait_said("upgraded to program 2")
    assert is_served(begun(lab.client, GATEWAY_V6))
    assert is_served_by_tls(begun(lab.client, GATEWAY_V6, 1081))
    stop(program)
    early, secured_early = begun(lab.client, GATEWAY_V6), begun(lab.client, GATEWAY_V6, 1081)
    program = systemd.start("--config", str(file))
    assert is_served(early)
    assert is_served_by_tls(secured_early)
    command = [sys.executable, "-m", "faith.cli.faith", "reload", "--control", str(path)]
    file.write_text(text)
    refused = lab.gateway.run(command, env=ENVIRONMENT, check=False)
    assert "proxy.listen: [::]:1080, but systemd has opened [::]:1080, [::]:1081" in refused.stderr
    assert is_served(begun(lab.client, GATEWAY_V6))
    stop(program)


def test_a_proxy_is_not_behind_the_guards_back(systemd: Systemd) -> None:
    systemd.listen("proxy", GATEWAY_V6, 1080, transparent=True)
    assert systemd.start("--proxy", f"[{GATEWAY_V6}]:1080").wait(10) != 0
    assert "'proxy' is transparent (Transparent=no is needed" in systemd.said


def ready() -> bytes:
    with socket.create_connection(("::1", 9064), timeout=5) as sock:
        sock.sendall(b"GET /readyz HTTP/1.1\r\n\r\n")
        return sock.recv(4096)


@pytest.mark.usefixtures("echo")
def test_systemds_own_program_passes_what_is_understood(
    lab: ThreeHosts, need: Callable[[str], str], tmp_path: Path
) -> None:
    activate = [need("systemd-socket-activate"), "--fdname=metrics", "--listen=[::1]:9064"]
    variables = [f"--setenv={name}={value}" for name, value in ENVIRONMENT.items()]
    with (tmp_path / "log").open("wb") as log:
        program = lab.gateway.popen(
            [*activate, *variables, *FAITHD, "--workers=1", "-P", PREFIX, str(PORT)],
            stderr=log,
            env=ENVIRONMENT,
        )
    wait_until(lambda: "Listening on" in (tmp_path / "log").read_text(), 5, "that it listens")
    assert lab.gateway.call(ready), "the first who asks starts it"
    wait_until(lambda: b" 200 " in lab.gateway.call(ready), 10, "that it serves")
    assert relays(lab)
    stop(program)

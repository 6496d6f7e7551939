"""Sockets that systemd passes: known by their names, and by nothing else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.daemon.config.settings import Service, Settings
from faith.daemon.host.socket_activation import PassedSockets
from faith.dns.endpoint import Endpoint
from faith.dns.options import Options
from faith.dns.service import Settings as DnsSettings
from faith.errors import ConfigError
from faith.relay.proxy.proxy_settings import ProxySettings
from faith.translation.ports import Ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Make = Callable[..., socket.socket]

FIND = """
import os
from faith.daemon.host.socket_activation import PassedSockets
from faith.errors import FaithError
from faith.kernel.descriptor import descriptors
os.environ["LISTEN_PID"] = os.environ["LISTEN_PID"] or str(os.getpid())
try:
    found = PassedSockets.found()
    print({name: len(some) for name, some in found.state().items()},
          any(map(os.get_inheritable, descriptors(found.state()))),
          [name for name in os.environ if name.startswith("LISTEN")])
except FaithError as error:
    print(error)
"""


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[socket.socket] = []

    def listen(
        kind: int = socket.SOCK_STREAM, family: int = socket.AF_INET6, to: object = ("::1", 0)
    ) -> socket.socket:
        made.append(socket.socket(family, kind))
        made[-1].bind(to)  # type: ignore[arg-type]
        if kind != socket.SOCK_DGRAM:
            made[-1].listen()
        return made[-1]

    yield listen
    for sock in made:
        sock.close()


def find(*sockets: socket.socket, names: str, count: str = "", pid: str = "") -> str:
    """What a process finds that *sockets* are passed to as systemd does."""

    def place() -> None:
        copies = [os.dup(sock.fileno()) for sock in sockets]
        high = [os.dup2(fd, 100 + number) for number, fd in enumerate(copies)]
        for number, fd in enumerate(high):
            os.dup2(fd, 3 + number)

    environment = {
        **os.environ,
        "LISTEN_PID": pid,
        "LISTEN_FDS": count or str(len(sockets)),
        "LISTEN_FDNAMES": names,
    }
    return subprocess.run(
        [sys.executable, "-c", FIND],
        env=environment,
        preexec_fn=place,
        close_fds=False,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def test_they_are_found_once_and_left_to_nobody(make: Make, tmp_path: Path) -> None:
    control = make(socket.SOCK_SEQPACKET, socket.AF_UNIX, str(tmp_path / "control"))
    names = make(), make(socket.SOCK_DGRAM)
    told = find(make(), control, *names, names="metrics:control:dns:dns")
    assert told == "{'metrics': 1, 'control': 1, 'dns': 2} False ['LISTEN_PID']"


def test_those_of_another_process_are_none(make: Make) -> None:
    assert find(make(), names="metrics", pid="1") == "{} False ['LISTEN_PID']"


def test_no_socket_is_guessed_at(make: Make, tmp_path: Path) -> None:
    assert "one is called 'faithd.socket' (FileDescriptorName=" in find(
        make(), names="faithd.socket"
    )
    assert "1 sockets have 0 names (FileDescriptorName=" in find(make(), names="")
    assert "'metrics' is AF_INET6 SOCK_DGRAM" in find(make(socket.SOCK_DGRAM), names="metrics")
    assert "there are 2 called 'metrics', not one" in find(make(), make(), names="metrics:metrics")
    assert "'service' is for one address (ListenStream=[::]:PORT" in find(make(), names="service")
    assert "'service' is not as the guard wants it (Transparent=yes" in find(
        make(to=("::", 0)), names="service"
    )
    assert "'proxy' is AF_INET6 SOCK_DGRAM" in find(make(socket.SOCK_DGRAM), names="proxy")
    assert find(make(to=("::1", 0)), names="proxy").startswith("{'proxy': 1}")
    with socket.create_server(("::", 0), family=socket.AF_INET6) as alone:
        assert "'proxy' is for IPv6 only (BindIPv6Only=both" in find(alone, names="proxy")
    assert "'dns' is for all addresses" in find(make(socket.SOCK_DGRAM, to=("::", 0)), names="dns")
    connected = socket.create_connection(make().getsockname()[:2])
    with connected:
        assert "'metrics' does not listen (Accept=no" in find(connected, names="metrics")


SETTINGS = Settings((Service("http", Ports([(80, 80)])),))


def test_settings_learn_of_them(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "control"
    metrics, name = make(), make(socket.SOCK_DGRAM)
    passed = PassedSockets(
        {
            "metrics": [metrics],
            "control": [make(socket.SOCK_SEQPACKET, socket.AF_UNIX, str(path))],
            "dns": [name],
        }
    )
    fitted = passed.fit(replace(SETTINGS, dns=DnsSettings(Options(()))))
    assert fitted.metrics == metrics.getsockname()[:2]
    assert fitted.control == path
    assert fitted.dns
    assert fitted.dns.listen == (Endpoint(*name.getsockname()[:2]),)
    assert passed.fit(fitted) == fitted


def test_those_of_proxies_belong_to_proxies_of_the_settings(make: Make) -> None:
    sock = make(to=("::", 0))
    port = sock.getsockname()[1]
    passed = PassedSockets({"proxy": [sock]})
    settings = replace(SETTINGS, proxies=(ProxySettings("::", port), ProxySettings("::1", 1)))
    assert passed.fit(settings) == settings
    with pytest.raises(ConfigError, match=rf"^proxy.listen: there is no proxy, but .*:{port}$"):
        passed.fit(SETTINGS)
    with pytest.raises(ConfigError, match=rf"^proxy.listen: \[::\]:1080, but .*\[::\]:{port}$"):
        passed.fit(replace(SETTINGS, proxies=(ProxySettings("::", 1080),)))


def test_who_contradicts_them_is_told(make: Make, tmp_path: Path) -> None:
    sock = make()
    where = sock.getsockname()[:2]
    with pytest.raises(ConfigError, match=r"^metrics.listen: \('::1', 1\), but systemd has opened"):
        PassedSockets({"metrics": [sock]}).fit(replace(SETTINGS, metrics=("::1", 1)))
    with pytest.raises(ConfigError, match=rf"^service.ports: 80, but .* has opened {where[1]}$"):
        PassedSockets({"service": [sock]}).fit(SETTINGS)
    served = Settings((Service("it", Ports([(where[1], where[1])])),), via="tproxy")
    with pytest.raises(ConfigError, match=r"^prefix.via: tproxy, but systemd"):
        PassedSockets({"service": [sock]}).fit(served)
    with pytest.raises(ConfigError, match=r"^dns: there is no such table"):
        PassedSockets({"dns": [sock]}).fit(SETTINGS)
    elsewhere = DnsSettings(Options(()), listen=(Endpoint("::1", 53),))
    with pytest.raises(ConfigError, match=r"^dns.listen: \[::1\]:53, but"):
        PassedSockets({"dns": [sock]}).fit(replace(SETTINGS, dns=elsewhere))
    control = make(socket.SOCK_SEQPACKET, socket.AF_UNIX, str(tmp_path / "control"))
    with pytest.raises(ConfigError, match=r"^control: /elsewhere, but"):
        PassedSockets({"control": [control]}).fit(replace(SETTINGS, control=Path("/elsewhere")))

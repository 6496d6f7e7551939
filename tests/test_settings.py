from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faith.daemon.config.local_server import LocalServer
from faith.daemon.config.settings import Service, Settings
from faith.errors import ConfigError, SetupError
from faith.translation.ports import NO_PORTS, Ports

if TYPE_CHECKING:
    from pathlib import Path

FTP, TELNET, MANY = Ports([(21, 21)]), Ports([(23, 23)]), Ports([(8000, 8100)])
TELNETD = LocalServer("/usr/sbin/telnetd", ("telnetd",))


RLOGIN, RSH = Ports([(513, 513)]), Ports([(514, 514)])


@pytest.mark.parametrize(
    ("name", "alg", "rsh", "rlogin"),
    [
        ("shell,login", "auto", RSH, RLOGIN),
        ("login, cmd", "auto", RSH, RLOGIN),
        ("513-514", "auto", NO_PORTS, NO_PORTS),
        ("shell,login", "none", NO_PORTS, NO_PORTS),
        ("513-514", "rsh", RSH | RLOGIN, NO_PORTS),
        ("513-514", "rlogin", NO_PORTS, RSH | RLOGIN),
        ("shell,login", "ftp", NO_PORTS, NO_PORTS),
    ],
)
def test_the_ports_of_rsh_and_rlogin(name: str, alg: str, rsh: Ports, rlogin: Ports) -> None:
    service = Service(name, RSH | RLOGIN, alg)
    assert (service.rsh, service.rlogin) == (rsh, rlogin)
    wide = Service(name, Ports([(500, 600)]), alg)
    assert alg != "auto" or (wide.rsh, wide.rlogin) == (rsh, rlogin)


@pytest.mark.parametrize(("name", "ports"), [("shell", RSH), ("ftp", FTP)])
def test_ftp_and_rsh_go_without_the_proxy_protocol(name: str, ports: Ports) -> None:
    says = f'^port {ports} is relayed as FTP or rsh.*their client.*with alg "none" they may$'
    with pytest.raises(ConfigError, match=says):
        Service(name, ports, proxy="v1")
    service = Service(name, ports, "none", proxy="v1")
    assert service.introduced("v1") == ports
    assert service.introduced("v2") == Service(name, ports).introduced("v1") == NO_PORTS


def test_without_services_there_are_maps() -> None:
    assert Settings(()).name == "maps"
    assert Settings(()).ports == NO_PORTS


def test_what_the_command_line_need_not_say() -> None:
    settings = Settings(())
    assert (settings.via, settings.workers, settings.dns_workers) == ("auto", 1, 1)
    assert (settings.user, settings.drain_timeout, settings.log) == ("nobody", 5.0, "text")


def test_each_local_server_is_checked(tmp_path: Path) -> None:
    missing = LocalServer(str(tmp_path / "telnetd"), ("telnetd",))
    cat = LocalServer("/bin/cat", ("cat",))
    Settings((Service("x", MANY, local_server=cat), Service("ftp", FTP))).check_local_servers()
    with pytest.raises(SetupError, match="telnetd: no such file"):
        Settings(
            (Service("x", MANY, local_server=cat), Service("y", TELNET, local_server=missing))
        ).check_local_servers()


@pytest.mark.parametrize(
    ("alg", "ports", "found"),
    [
        ("auto", FTP | MANY, FTP),
        ("auto", MANY, NO_PORTS),
        ("ftp", MANY, MANY),
        ("none", FTP, NO_PORTS),
    ],
)
def test_the_ports_of_ftp(alg: str, ports: Ports, found: Ports) -> None:
    assert Service("some", ports, alg).ftp == found


def test_several_services_are_told_apart_by_port() -> None:
    settings = Settings(
        (Service("ftp", FTP), Service("telnet", TELNET, local_server=TELNETD), Service("x", MANY))
    )
    assert settings.name == "ftp,telnet,x"
    assert settings.ports == FTP | TELNET | MANY
    assert settings.local_ports == TELNET
    assert settings.local_server(23) == TELNETD
    assert settings.local_server(21) is None
    assert settings.local_server(9999) is None

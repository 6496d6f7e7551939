from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from faith.daemon.config.local_server import LocalServer
from faith.daemon.config.settings import AUTO, KERNEL, KernelPath, Service, Settings
from faith.errors import ConfigError, SetupError
from faith.flow.flow_settings import FlowSettings
from faith.relay.tcp.relay_settings import Settings as RelaySettings
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


@pytest.mark.parametrize(
    ("service", "why"),
    [
        (
            ("21-23", Ports([(21, 23)])),
            "port 21 .*, because FTP takes the relay; make it a service",
        ),
        (("x", MANY, "ftp"), 'FTP takes the relay; .* alg "none" .* or choose the path "auto"$'),
        (("shell", RSH), "port 514 .*, because rsh takes the relay"),
        (("login", RLOGIN), "port 513 .*, because rlogin takes the relay"),
        (("x", MANY, "auto", None, "v2"), "8000-8100 .*PROXY takes the relay; leave proxy out"),
    ],
)
def test_what_the_kernel_cannot_do_must_not_be_asked_of_it(
    service: tuple[Any, ...], why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        replace(Service(*service), path=KERNEL)
    assert replace(Service(*service), path=AUTO).path == AUTO


def test_what_the_relay_does_not_take_part_in_can_go_by_the_kernel() -> None:
    settings = Settings(
        (
            Service("ssh", Ports([(22, 22)]), local_server=TELNETD, path=KERNEL),
            Service("513-514", RLOGIN | RSH, path=KERNEL),
            Service("ftp", FTP, "none", path=KERNEL),
            Service("telnet", TELNET),
            Service("x", MANY, dscp=True, path=AUTO),
        )
    )
    assert settings.kernel_ports == Ports([(21, 22), (513, 514)])
    assert settings.auto_ports == MANY
    assert settings.kept_by_relay() == []


def test_auto_leaves_to_the_relay_what_the_kernel_cannot_do() -> None:
    settings = Settings(
        (
            Service("20-22", Ports([(20, 22)]), path=AUTO),
            Service("shell,login", RSH | RLOGIN, path=AUTO),
            Service("x", MANY, proxy="v1", path=AUTO),
            Service("telnet", TELNET, proxy="v1"),
        )
    )
    assert settings.auto_ports == Ports([(20, 20), (22, 22)])
    assert settings.kept_by_relay() == [
        *((FTP, "FTP"), (RSH, "rsh"), (RLOGIN, "rlogin"), (MANY, "PROXY"))
    ]


@pytest.mark.parametrize(
    ("different", "why"),
    [({"via": "redirect"}, "redirect"), ({"relay": RelaySettings(reserved_port=True)}, "1024")],
)
def test_nothing_goes_by_the_kernel_where_all_is_to_be_relayed(
    different: dict[str, Any], why: str
) -> None:
    with pytest.raises(ConfigError, match=f"^port 23 cannot go by the kernel path: .*{why}"):
        Settings((Service("telnet", TELNET, path=KERNEL),), **different)
    settings = Settings((Service("telnet", TELNET, path=AUTO),), **different)
    assert settings.auto_ports == NO_PORTS
    ((ports, reason),) = settings.kept_by_relay()
    assert ports == TELNET
    assert why in reason


def test_without_the_kernel_path_there_are_no_flows() -> None:
    assert Settings(()).flows is None
    flows = FlowSettings(TELNET)
    assert Settings((), kernel_path=KernelPath(flows)).flows is flows


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

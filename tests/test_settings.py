from __future__ import annotations

import pytest

from faith.daemon.config.local_server import LocalServer
from faith.daemon.config.settings import Service, Settings
from faith.translation.ports import NO_PORTS, Ports

FTP, TELNET, MANY = Ports([(21, 21)]), Ports([(23, 23)]), Ports([(8000, 8100)])
TELNETD = LocalServer("/usr/sbin/telnetd", ("telnetd",))


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

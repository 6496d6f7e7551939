"""A host as ``faith setup`` sees it in tests: two interfaces, one of them with an IPv4 default."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_interface
from typing import TYPE_CHECKING, cast

from faith.cli.setup.host_facts import Host
from faith.kernel.netlink import routes

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

    import pytest

    from faith.kernel.netlink.interfaces import OwnAddress


@dataclass(frozen=True)
class Address:
    """As of faith.kernel.netlink.interfaces.OwnAddress."""

    address: IPv4Address | IPv6Address
    network: IPv4Network | IPv6Network


def addresses(*texts: str) -> list[OwnAddress]:
    found = [ip_interface(text) for text in texts]
    return cast("list[OwnAddress]", [Address(one.ip, one.network) for one in found])


HOST = Host(
    {
        "lan": addresses("192.168.0.1/24", "2001:db8:6::1/64", "fd00:6::1/48", "fd00:6::5/128"),
        "wan": addresses("192.0.2.1/24", "2001:db8:1::1/64"),
        "spare": [],
    },
    ("wan",),
    (),
    ("2001:db8:1::53", "192.0.2.53"),
    frozenset(["CAP_BPF", "CAP_NET_RAW"]),
)


def be_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be a host that has 192.0.2.0/24 and no routes that would be in the way."""
    monkeypatch.setattr(routes, "local_ipv4", lambda: [(0xC0000200, 24)])
    monkeypatch.setattr(routes, "conflicts", lambda prefix: None)
    monkeypatch.setattr(routes, "forwarding_warnings", list)
    monkeypatch.setattr(Host, "look", lambda: HOST)

"""Names looked up as a daemon does for clients of its proxies, by real name servers."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from faith.cli.explain import proxied_names
from faith.daemon.config.worker_settings import NameSettings
from faith.dns.endpoint import Endpoint
from faith.translation.reasons import NAME_FAILED, NO_NAME
from tests.dns.zones import EXAMPLE, NameServer, Zones

if TYPE_CHECKING:
    from pathlib import Path

    from faith.cli.explain.proxied_facts import ProxiedName

ZONE = (
    f"{EXAMPLE}www 60 IN A 192.0.2.80\n"
    + "".join(f"many 60 IN A 192.0.2.{number}\n" for number in range(6))
    + "".join(f"many 60 IN AAAA 2001:db8::{number}\n" for number in range(6))
)


def look_up(name: str, *servers: NameServer | Endpoint, hosts: str = "/nonexistent") -> ProxiedName:
    ends = [Endpoint(server.host, server.port) for server in servers]
    return proxied_names.look_up(name, NameSettings(tuple(ends)), hosts=hosts)


def dead() -> Endpoint:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        return Endpoint(*free.getsockname())


def test_addresses_in_the_order_in_which_they_are_tried() -> None:
    with NameServer(Zones(ZONE)) as server:
        assert look_up("WWW.example.", server).addresses == ("192.0.2.80",)
        found = look_up("many.example", server)
    assert len(found.addresses) == 8
    assert [":" in one for one in found.addresses] == [True, False] * 4
    assert not found.dead


def test_a_name_that_there_is_not() -> None:
    with NameServer(Zones(ZONE)) as server:
        found = look_up("missing.example", server)
        assert look_up("localhost", server).failure == NO_NAME
    assert (found.addresses, found.failure, found.dead) == ((), NO_NAME, ())


def test_servers_that_are_dead() -> None:
    with NameServer(Zones(ZONE)) as server:
        found = look_up("www.example", gone := dead(), server)
    assert found.addresses == ("192.0.2.80",)
    assert [one.address for one in found.dead] == [str(gone)]
    found = look_up("www.example", dead())
    assert (found.addresses, found.failure, len(found.dead)) == ((), NAME_FAILED, 1)


def test_the_file_of_hosts_comes_first(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("192.0.2.7 www.example\n")
    found = look_up("www.example", dead(), hosts=str(hosts))
    assert (found.addresses, found.hosts, found.servers) == (("192.0.2.7",), str(hosts), ())

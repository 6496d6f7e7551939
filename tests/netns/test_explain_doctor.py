"""The doctor on a gateway whose set-up is mended step by step."""

from __future__ import annotations

import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

from faith.cli import control_client
from faith.cli.explain import doctor
from faith.cli.explain.facts import NOBODY
from faith.kernel.netlink import routes
from faith.kernel.nft import guard
from faith.lab import wait_until
from faith.lab.topology import PREFIX, SERVER
from faith.proxy.password_hash import hashed
from faith.translation.prefix import Prefix
from tests.dns.zones import EXAMPLE, NameServer, Zones
from tests.netns.gateway import Gateway

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faith.cli.explain.doctor import Check
    from faith.lab import ThreeHosts

pytestmark = pytest.mark.netns


def amiss(lab: ThreeHosts) -> dict[str, list[Check]]:
    """What the doctor finds amiss on the gateway, by the names of the checks."""
    with lab.gateway.inside():
        checks = doctor.examine()
    found: dict[str, list[Check]] = {}
    for check in checks:
        if check.state == "amiss":
            found.setdefault(check.check, []).append(check)
    return found


def test_what_is_amiss_is_mended_by_the_commands_it_names(lab: ThreeHosts) -> None:
    for name, value in (
        ("tcp_mtu_probing", "0"),
        ("tcp_tw_reuse", "0"),
        ("ip_local_port_range", "40000 40100"),
    ):
        lab.gateway.sysctl(f"net.ipv4.{name}", value)
    found = amiss(lab)
    assert {"prefix", "tcp", "ports"} <= found.keys()
    for check in (*found["tcp"], *found["ports"]):
        lab.gateway.run(shlex.split(check.action))
    with lab.gateway.inside():
        guard.install([Prefix.parse(PREFIX)])
        routes.reserve(Prefix.parse(PREFIX))
    lab.gateway.links.add_route("default", SERVER)
    assert set(amiss(lab)) == {"status"}  # there is no faithd yet


def test_a_link_without_a_carrier(lab: ThreeHosts) -> None:
    (name,) = [one for one in _links(lab.server) if one != "lo"]
    lab.server.run(["ip", "link", "set", name, "down"])
    # the kernel tells the other end a moment later
    wait_until(lambda: not lab.gateway.links.is_up("to-server"), 5, "no carrier")
    (check,) = amiss(lab)["link"]
    assert "no carrier" in check.text


def _links(host: object) -> list[str]:
    listed = host.run(["ip", "-o", "link"]).stdout  # type: ignore[attr-defined]
    return [line.split(": ")[1].partition("@")[0] for line in listed.splitlines()]


def test_strict_reverse_path_filtering_is_told_of(lab: ThreeHosts) -> None:
    lab.gateway.sysctl("net.ipv4.conf.all.rp_filter", 1)
    with lab.gateway.inside():
        checks = [one for one in doctor.examine() if one.check == "rp_filter"]
    assert [one.state for one in checks] == ["note"]


PROXY = '[[proxy]]\nlisten = ":1080"\n'


def about_proxies(lab: ThreeHosts, *states: str) -> list[str]:
    """What the doctor says of proxies, in these states, or of them in the status."""
    with lab.gateway.inside():
        checks = doctor.examine()
    return [one.text for one in checks if one.state in states and "prox" in one.text]


def test_strangers_on_a_link_of_a_proxy(lab: ThreeHosts, tmp_path: Path) -> None:
    gateway = Gateway(lab, tmp_path, PROXY)
    assert not [text for text in about_proxies(lab, "amiss") if "clients" in text]
    lab.gateway.links.add_address("to-server", "8.8.8.9/24")
    (found,) = [text for text in about_proxies(lab, "amiss") if "clients" in text]
    assert "every host in 8.8.8.0/24 may use it" in found
    gateway.reload(f'{PROXY}clients = ["8.8.8.0/25"]\n')
    assert not [text for text in about_proxies(lab, "amiss") if "clients" in text]
    assert gateway.stop() == 0


def test_the_name_servers_of_a_proxy(lab: ThreeHosts, tmp_path: Path) -> None:
    dns = f'[dns]\nlisten = ["::1"]\nforward = ["{SERVER}"]\nprefix = ["{PREFIX}"]\n'
    gateway = Gateway(lab, tmp_path, PROXY + dns)
    (found,) = [text for text in about_proxies(lab, "amiss") if "name server" in text]
    assert found == f"the name server {SERVER}:53, which proxies ask, gives no answer: " + NOBODY
    with lab.server.call(lambda: NameServer(Zones(EXAMPLE), SERVER, 53)):
        (found,) = [text for text in about_proxies(lab, "ok") if "name server" in text]
    assert gateway.stop() == 0


def test_what_is_hazardous_about_proxies(
    lab: ThreeHosts, tmp_path: Path, need: Callable[[str], str]
) -> None:
    users = tmp_path / "users"
    users.write_text(f"ann:{hashed(b'secret')}\n")
    openssl = need("openssl")
    for words in (
        "req -newkey rsa:2048 -nodes -subj /CN=proxy -keyout key -out request",
        "x509 -req -in request -signkey key -days -1 -out ended",
    ):
        subprocess.run([openssl, *words.split()], check=True, capture_output=True, cwd=tmp_path)
    files = f'tls_certificate = "{tmp_path}/ended"\ntls_key = "{tmp_path}/key"\n'
    text = f'{PROXY}clients = ["::/0"]\n[[proxy]]\nlisten = ":1081"\nusers = "{users}"\n{files}'
    gateway = Gateway(lab, tmp_path, text)
    found = about_proxies(lab, "amiss")
    assert len([text for text in found if "open to everybody" in text]) == 1
    assert len([text for text in found if "has ended or is not valid yet" in text]) == 1
    ids = {one["id"] for one in control_client.ask(gateway.control, "status")["findings"]}
    assert {"proxy-open", "certificate-ended"} <= ids
    assert gateway.stop() == 0

"""The doctor on a gateway whose set-up is mended step by step."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from faith.cli.explain import doctor
from faith.kernel.netlink import routes
from faith.kernel.nft import guard
from faith.lab import wait_until
from faith.lab.topology import PREFIX, SERVER
from faith.translation.prefix import Prefix

if TYPE_CHECKING:
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

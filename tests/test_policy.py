"""The parts of a policy: read, gathered, carried."""

from __future__ import annotations

import os
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from faith.daemon.config import policy, static_map
from faith.daemon.config.policy import PolicyInputs, Rules
from faith.daemon.config.settings import Settings
from faith.errors import ConfigError
from faith.kernel.netlink import interfaces, routes
from faith.translation.map_table import Maps
from faith.translation.prefix import RFC6052, Prefix
from faith.translation.reasons import NO_RULE, OWN
from faith.translation.sources import Addresses, Source, Sources

CLIENT = int(IPv6Address("2001:db8:6::2"))
SERVER = int(IPv4Address("192.0.2.80"))


def test_a_pool_is_among_the_networks() -> None:
    pool = ((0xC6336400, 24),)
    parts = PolicyInputs(Rules("", "x"), (), (), pool=pool)
    assert parts.networks == pool
    assert PolicyInputs.loads(parts.dumps()).pool == pool
    assert parts.policy(lambda v4: 7).leased_host(1) == 7
    assert parts.policy().leased_host(1) is None


def test_addresses_to_set_up_are_joined_with_the_mapped_ones() -> None:
    maps = Maps(static_map.parse("198.51.101.2 2001:db8:a::1"))
    pool = ((0xC6336504, 30),)
    parts = PolicyInputs(Rules("", "x"), (), (), maps, pool=pool)
    assert parts.networks == (*maps.networks, *pool)
    source = Source([(0, 0)], Addresses.parse(["198.51.101.0/31", "198.51.101.3"]), set_up=True)
    with_sources = replace(parts, sources=Sources([source]))
    assert with_sources.networks == ((0xC6336500, 29),)
    there = Sources([Source([(0, 0)], source.addresses)])
    assert replace(parts, sources=there).networks == parts.networks


def test_the_usual_file_is_that_of_kames_faithd() -> None:
    assert Path("/etc/faithd.conf") == policy.ACCESS_FILE


@pytest.mark.parametrize("pool", [(), ((0xC6336400, 24),)])
def test_the_kernel_says_what_is_the_gateways(
    monkeypatch: pytest.MonkeyPatch, pool: tuple[tuple[int, int], ...]
) -> None:
    prefixes = [Prefix.parse(f"2001:db8:{n}::/96") for n in (2, 1)]
    monkeypatch.setattr(routes, "reserved", lambda: prefixes)
    monkeypatch.setattr(routes, "own_ipv4", lambda: [(SERVER, 32), (1 << 24, 8)])
    monkeypatch.setattr(routes, "own_ipv6", lambda: [(CLIENT, 128), (1 << 125, 64)])
    monkeypatch.setattr(interfaces, "connected", lambda: [(CLIENT >> 64 << 64, 64)])
    rules, maps = Rules("", "x"), Maps(static_map.parse("198.51.101.1 2001:db8:a::1"))
    found = PolicyInputs.gather(rules, maps, pool=pool)
    assert set(found.prefixes) == set(prefixes)
    assert (found.rules, found.maps, found.pool) == (rules, maps, pool)
    assert found.own == ((1 << 24, 8), (SERVER, 32))
    assert found.own6 == ((1 << 125, 64), (CLIENT, 128))
    assert PolicyInputs.loads(found.dumps()) == found
    assert found.policy().is_connected(CLIENT)
    assert not found.policy().is_connected(CLIENT + (1 << 64))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("192.0.2.80 2001:db8:a::1", "is the gateway's own"),
        ("198.51.100.1 2001:db8:100::1", "is under the prefix"),
        ("198.51.100.1 2001:db8:a::1", "is mapped, and in the pool"),
        ("198.51.101.1 2001:db8:a::1", None),
        ("192.0.2.81 2001:db8:a::1", None),
    ],
)
def test_a_map_is_checked_against_everything(line: str, says: str | None) -> None:
    prefix = Prefix.parse("2001:db8:100::/96")
    parts = PolicyInputs(Rules("", "x"), (prefix,), ((SERVER, 32),), pool=((0xC6336400, 24),))
    maps = static_map.parse(line)
    if says is None:
        parts.check(maps)
        return
    with pytest.raises(ConfigError, match=says):
        parts.check(iter(maps))


def test_own_addresses_are_no_leases() -> None:
    parts = PolicyInputs(Rules("", "x"), (), (), own6=((CLIENT, 128),))
    assert CLIENT in parts.policy().own6
    assert CLIENT ^ 1 not in parts.policy().own6


def test_rules_name_file_and_line_of_a_mistake(tmp_path: Path) -> None:
    file = tmp_path / "faithd.conf"
    file.write_text("::/0 permit 0.0.0.0/0\n::/0 allow 0.0.0.0/0\n")
    with pytest.raises(ConfigError, match=f"^{file}:2: 'allow'"):
        Rules.read(file)


def test_rules_are_those_of_the_settings_or_of_the_file_they_name(tmp_path: Path) -> None:
    file = tmp_path / "faithd.conf"
    file.write_text("::/0 deny 0.0.0.0/0\n")
    assert Rules.of(Settings((), access_file=file)) == Rules(file.read_text(), str(file))
    written = Settings((), access_file=file, access_rules="")
    assert Rules.of(written) == Rules("", "access.rules")


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        Rules.read(tmp_path / "missing")
    with pytest.raises(ConfigError, match="Is a directory"):
        Rules.read(tmp_path)


def test_a_file_must_be_text(tmp_path: Path) -> None:
    file = tmp_path / "faithd.conf"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not a text file"):
        Rules.read(file)


def test_a_file_may_have_any_name(tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"x\xe4")
    file.write_text("::/0 deny 0.0.0.0/0\n")
    parts = PolicyInputs(Rules.read(file), (), ())
    assert parts.rules.file == f"{tmp_path}/x\\xe4"
    assert PolicyInputs.loads(parts.dumps()) == parts


def test_the_usual_file_need_not_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = tmp_path / "faithd.conf"
    monkeypatch.setattr(policy, "ACCESS_FILE", usual)
    assert not Rules.read(None).access().rules
    usual.write_text("::/0 deny 0.0.0.0/0\n")
    assert len(Rules.read(None).access().rules) == 1


def test_parts_decide_the_same_after_the_journey() -> None:
    prefix = Prefix.parse("2001:db8:100::/40", RFC6052)
    rules = Rules("2001:db8:6::/48 permit 192.0.2.0/24  # 'é'\n", "/etc/faithd.conf")
    parts = PolicyInputs(rules, (prefix,), ((SERVER + 1, 32),))
    arrived = PolicyInputs.loads(parts.dumps())
    assert arrived == parts
    decide = arrived.policy().admit
    assert decide(CLIENT, SERVER, prefix).refused is None
    assert decide(CLIENT, SERVER + 1, prefix).refused == OWN
    assert decide(CLIENT + (1 << 90), SERVER, prefix).refused == NO_RULE


def test_of_the_maps_only_what_changes_travels() -> None:
    lines = [f"198.51.100.{host} 2001:db8:a::{host}" for host in range(1, 100)]
    lines.append("198.51.100.100 2001:db8:a::100 ports=8080 to_port=80 protocols=tcp")
    rules = Rules("", "/etc/faithd.conf")
    before = PolicyInputs(rules, (), (), Maps(static_map.parse("\n".join(lines))))
    arrived = PolicyInputs.loads(before.dumps())
    assert arrived == before
    lines[3:5] = ["198.51.100.0/24 2001:db8:b::/64 direction=out"]
    after = PolicyInputs(rules, (), (), Maps(static_map.parse("\n".join(lines))))
    dumped = after.dumps(before.maps)
    assert len(dumped) < 500
    assert set(PolicyInputs.loads(dumped, arrived.maps).policy().maps) == set(after.maps)
    for left, travels in ((lines[:-1], "gone"), ([*lines, "198.51.101.1 2001:db8:c::1"], "new")):
        other = PolicyInputs(rules, (), (), Maps(static_map.parse("\n".join(left))))
        dumped = other.dumps(after.maps)
        assert PolicyInputs.loads(dumped, after.maps) == other, travels
    unchanged = PolicyInputs(rules, (), ((SERVER, 32),), before.maps)
    assert PolicyInputs.loads(unchanged.dumps(before.maps), arrived.maps) == unchanged


def test_rules_that_stay_are_not_parsed_again() -> None:
    rules = Rules("::/0 deny 192.0.2.0/24\n", "/etc/faithd.conf")
    inputs = PolicyInputs(rules, (), ())
    there = inputs.policy().access
    assert PolicyInputs.loads(inputs.dumps()).policy().access is there
    assert Rules(rules.text, "other").access() is not there

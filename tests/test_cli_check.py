from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faith.cli import check
from faith.daemon.config import config
from faith.errors import ConfigError
from faith.kernel.netlink import routes

if TYPE_CHECKING:
    from pathlib import Path

SERVICE = '[[service]]\nports = "80"\n'


@pytest.fixture(autouse=True)
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that has 192.0.2.0/24."""
    monkeypatch.setattr(routes, "local_ipv4", lambda: [(0xC0000200, 24)])


def told(text: str = SERVICE) -> dict[str, list[str]]:
    """The lines about each kind of thing."""
    found: dict[str, list[str]] = {}
    for line in check.lines(config.read(text, "faith.toml")):
        kind, _, rest = line.partition(" ")
        found.setdefault(kind, []).append(rest.strip())
    return found


def test_each_kind_of_thing_stands_in_the_same_column() -> None:
    for line in check.lines(config.read(SERVICE, "faith.toml")):
        assert line[8] == " "
        assert line[9] != " "


def test_what_a_file_says_nothing_about_is_told_too() -> None:
    found = told(f"user = 'daemon'\nworkers = 3\n{SERVICE}")
    assert found["prefix"] == ["those that faith -e reserves"]
    assert found["service"] == ["port 80"]
    assert found["steered"] == ["by the first method that works"]
    assert found["workers"] == ["3, as daemon"]
    assert found["records"] == ["of all sessions"]
    assert not {"maps", "source", "limits", "dns", "ping", "metrics"} & set(found)


@pytest.mark.parametrize(
    ("text", "kind", "line"),
    [
        (
            '[[prefix]]\naddress = "64:ff9b::/96"',
            "prefix",
            "64:ff9b::/96, layout low32, reserved while it runs",
        ),
        ('[[prefix]]\naddress = "64:ff9b::/96"\nvia = "tproxy"', "steered", "by tproxy"),
        ('[metrics]\nlisten = "127.0.0.1:99"', "metrics", "on 127.0.0.1 port 99"),
        ("[limits]\nsessions = 5\nrate = 2.5", "limits", "sessions 5, rate 2.5"),
        (
            '[[map]]\nv4 = "198.51.100.0/28"\nv6 = "2001:db8::/124"',
            "maps",
            "1, IPv4 addresses of them: 16, FTP on 21, from addresses that stand for clients",
        ),
        (
            '[[source]]\naddresses = ["192.0.2.8/30"]',
            "source",
            "4 addresses, shared by ::/0",
        ),
        (
            '[[source]]\naddresses = ["192.0.2.8"]\nclients = ["::1/128"]\none_to_one = true',
            "source",
            "1 address, one for each client of ::1/128",
        ),
        ("[ping]\nrate = 0\nrate_per_client = 5\ntimeout = 90", "ping", None),
        (
            "[log]\nsample = 10\ndestinations = false",
            "records",
            "of one session in 10, without destinations",
        ),
        ("[udp]\n[log]\nflows = false", "records", "of all sessions, none of UDP flows"),
        (
            "[udp]\n[log]\nstarts = true",
            "records",
            "of all sessions, UDP flows as well, at their start too",
        ),
        (
            '[dns]\nforward = ["192.0.2.53"]',
            "dns",
            "on every address of this host, asking 192.0.2.53:53",
        ),
        (
            '[dns]\nlisten = ["[::1]:5353"]',
            "dns",
            "on [::1]:5353, asking the servers in resolv.conf",
        ),
    ],
)
def test_what_is_asked_for_is_told(text: str, kind: str, line: str | None) -> None:
    (found,) = told(f"{SERVICE}{text}\n")[kind]
    wanted = "any number a second, 5 of a client, identifiers kept 90 s"
    assert found == (line or wanted)


def test_what_a_service_knows_of_its_protocol_is_told() -> None:
    text = (
        '[[service]]\nports = "20-21"\n'
        '[[service]]\nports = "443"\nproxy = "v2"\ndscp = true\n'
        '[[service]]\nports = "22"\nserver = ["/bin/cat", "-u"]\n'
    )
    assert told(text)["service"] == [
        "ports 20-21, FTP on 21",
        "port 443, told their clients by PROXY v2, with their clients' DSCP",
        "port 22, local server /bin/cat",
    ]


def test_how_the_metrics_are_protected_is_told(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("0123456789abcdef\n")
    found = told(f'{SERVICE}[metrics]\nlisten = "[::1]:99"\ntoken_file = "{tmp_path}/token"')
    assert found["metrics"] == ["on ::1 port 99, by a token"]


def test_the_rules_are_counted_with_their_file(tmp_path: Path) -> None:
    file = tmp_path / "rules"
    access = f'{SERVICE}[access]\nfile = "{file}"\n'
    file.write_text("")
    assert told(access)["access"] == ["everybody is permitted"]
    file.write_text("::/0 permit 0.0.0.0/0\n")
    assert told(access)["access"] == [f"1 rule in {file}"]
    file.write_text("::/0 deny 10.0.0.0/8\n::/0 permit 0.0.0.0/0\n")
    assert told(access)["access"] == [f"2 rules in {file}"]
    file.write_text("::/0 alow 0.0.0.0/0\n")
    with pytest.raises(ConfigError, match=f"{file}:1"):
        told(access)

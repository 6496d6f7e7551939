"""The options of the commands about names, and what each sets."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import dns.name
import pytest

from faith.cli import faith
from faith.daemon import dns_daemon
from faith.dns.dns_arguments import DnsArguments
from faith.dns.options import Rule
from faith.kernel.netlink import routes
from faith.kernel.process.capabilities import default_user
from faith.translation.prefix import RFC6052, Prefix
from tests.datagram.wires import number

if TYPE_CHECKING:
    from pathlib import Path

    from faith.dns.service import Settings

RESERVED = Prefix.parse("2001:db8:ffff::/96")


@pytest.fixture(autouse=True)
def reserved(monkeypatch: pytest.MonkeyPatch) -> list[Prefix]:
    """Return the prefixes that are reserved here."""
    found = [RESERVED]
    monkeypatch.setattr(routes, "reserved", lambda: list(found))
    return found


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Settings, int, str, Any]]:
    """Return the calls that ``faith dns`` would have made."""
    found: list[tuple[Settings, int, str, Any]] = []
    monkeypatch.setattr(dns_daemon, "run", lambda read, *words: found.append((read(), *words)))
    return found


def test_without_options_it_serves_the_reserved_prefixes(ran: list[Any]) -> None:
    assert faith.main(["dns"]) == 0
    ((settings, workers, user, metrics),) = ran
    assert settings.reserved
    assert (workers, user, metrics) == (1, default_user(), None)
    assert (settings.listen, settings.forward, settings.served) == ((), (), None)
    assert (settings.stale, settings.mixed_case) == (0, False)


def test_every_option_arrives_where_it_belongs(ran: list[Any]) -> None:
    words = [
        *("dns", "-p", "2001:db8:100::/40", "--layout", "rfc6052", "--listen", "[::1]:5353"),
        *("--forward", "192.0.2.53", "--forward", "192.0.2.54:54", "--allow", "2001:db8::/32"),
        *("--filter-a", "2001:db8:6::/64", "--never", "never.example"),
        *("--always", "always.example", "--missing", "missing.example"),
        *("--serve-stale", "60", "--mixed-case", "--workers", "2", "--user", "daemon"),
        *("--metrics", "[::1]"),
    ]
    assert faith.main(words) == 0
    ((settings, workers, user, metrics),) = ran
    assert not settings.reserved
    assert (workers, user, metrics) == (2, "daemon", ("::1", 9064))
    assert [str(one) for one in settings.listen] == ["[::1]:5353"]
    assert [str(one) for one in settings.forward] == ["192.0.2.53:53", "192.0.2.54:54"]
    assert number("2001:db8::7") in settings.served
    assert (settings.stale, settings.mixed_case) == (60, True)
    for word, rule in (
        ("never", Rule.NEVER),
        ("always", Rule.ALWAYS),
        ("missing", Rule.MISSING),
    ):
        assert settings.options.names[dns.name.from_text(f"{word}.example").to_wire()] is rule
    assert Prefix.parse("2001:db8:100::/40", RFC6052) in settings.options.prefixes


def test_every_argument_has_an_option_of_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(dns_daemon, "run", lambda read, *_: given.append(read.__self__))
    lists = {
        field.name: (f"{field.name} 1", f"{field.name} 2")
        for field in fields(DnsArguments)
        if field.default == ()
    }
    words = [
        *("--layout", "low32", "--serve-stale", "7", "--mixed-case"),
        *("--authorities", str(tmp_path / "authorities"), "--pool-file", str(tmp_path / "leases")),
    ]
    for key, texts in lists.items():
        for text in texts:
            words += ["-p" if key == "prefix" else f"--{key.replace('_', '-')}", text]
    assert faith.main(["dns", *words]) == 0
    single: dict[str, Any] = {
        "layout": "low32",
        "serve_stale": 7,
        "mixed_case": True,
        "authorities": tmp_path / "authorities",
        "pool_file": tmp_path / "leases",
    }
    assert {
        key: tuple(value) if key in lists else value for key, value in vars(given[0]).items()
    } == lists | single


def test_hosts_have_lines_under_the_reserved_prefix_or_the_given_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "hosts"
    file.write_text("192.0.2.80 server.example\n")
    assert faith.main(["hosts", str(file)]) == 0
    assert "2001:db8:ffff::192.0.2.80 " in capsys.readouterr().out
    assert faith.main(["hosts", "-p", "64:ff9b:1::/96", str(file)]) == 0
    assert "64:ff9b:1::192.0.2.80 " in capsys.readouterr().out


@pytest.mark.parametrize("words", [["hosts", "192.0.2.80"], ["ra"]])
def test_without_a_prefix_it_says_how_to_give_one(
    words: list[str], reserved: list[Prefix], capsys: pytest.CaptureFixture[str]
) -> None:
    reserved.clear()
    assert faith.main(words) == 1
    assert "no prefix is reserved here; give one with -p" in capsys.readouterr().err


def test_advertisements_last_three_intervals_unless_it_is_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert faith.main(["ra", "--for", "radvd", "--interval", "400"]) == 0
    assert "AdvValidLifetime 1200;" in capsys.readouterr().out
    assert faith.main(["ra", "--for", "radvd", "--lifetime", "80"]) == 0
    printed = capsys.readouterr().out
    assert "AdvValidLifetime 80;" in printed
    assert "[IPv6PREF64Prefix]" not in printed


def test_all_daemons_are_told_unless_it_is_said_which(capsys: pytest.CaptureFixture[str]) -> None:
    assert faith.main(["ra"]) == 0
    printed = capsys.readouterr().out
    for word in ("nat64prefix", "[IPv6PREF64Prefix]", "custom option type"):
        assert word in printed


def test_a_daemon_that_is_not_known_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert faith.main(["ra", "--for", "quagga"]) == 2
    assert "--for quagga: not one of radvd, networkd, bird" in capsys.readouterr().err

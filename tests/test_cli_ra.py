"""What router advertisement daemons are told."""

from __future__ import annotations

import pytest

from faith.cli import faith
from faith.cli.ra import DAEMONS, snippets
from faith.errors import ConfigError
from faith.translation.prefix import LOW32, RFC6052, Prefix

ONE = Prefix.parse("2001:db8:ffff::/96")
TWO = Prefix.parse("2001:db8:64::/64", RFC6052)


def words(daemon: str, *prefixes: Prefix, lifetime: int = 1800) -> list[str]:
    return snippets(prefixes, lifetime, [daemon]).splitlines()[1:]


def test_radvd() -> None:
    assert words("radvd", ONE) == [
        "nat64prefix 2001:db8:ffff::/96 {",
        "    AdvValidLifetime 1800;",
        "};",
    ]


def test_networkd() -> None:
    assert words("networkd", ONE) == [
        "[IPv6PREF64Prefix]",
        "Prefix=2001:db8:ffff::/96",
        "LifetimeSec=1800",
    ]


def test_bird() -> None:
    assert words("bird", TWO) == [
        "custom option type 38 value hex:07:09:20:01:0d:b8:00:64:00:00:00:00:00:00;"
    ]


@pytest.mark.parametrize("daemon", DAEMONS)
def test_several_prefixes(daemon: str) -> None:
    assert words(daemon, ONE, TWO) == words(daemon, ONE) + words(daemon, TWO)


@pytest.mark.parametrize("daemon", DAEMONS)
def test_the_lifetime_is_one_that_can_be_told(daemon: str) -> None:
    assert words(daemon, ONE, lifetime=1793) == words(daemon, ONE, lifetime=1800)


@pytest.mark.parametrize("daemon", DAEMONS)
def test_prefixes_that_hosts_would_misread_are_refused(daemon: str) -> None:
    with pytest.raises(ConfigError, match="rfc6052"):
        snippets([ONE, Prefix.parse("2001:db8:64::/64", LOW32)], 1800, [daemon])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "LifetimeSec=1800"),
        (["--interval", "300"], "LifetimeSec=904"),
        (["--interval", "300", "--lifetime", "0"], "LifetimeSec=0"),
    ],
)
def test_the_lifetime_is_three_intervals_unless_given(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert faith.main(["ra", "-p", str(ONE), "--for", "networkd", *arguments]) == 0
    assert told in capsys.readouterr().out.splitlines()


def test_all_daemons_are_told_unless_one_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert faith.main(["ra", "-p", str(ONE)]) == 0
    assert capsys.readouterr().out.count("# ") == len(DAEMONS)
    assert faith.main(["ra", "-p", str(ONE), "--for", "rtadvd"]) == 2
    assert (
        "--for rtadvd: not one of radvd, networkd, bird; is radvd meant?" in capsys.readouterr().err
    )

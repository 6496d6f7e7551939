"""The lines that tell programs of a proxy, and how a proxy is named."""

from __future__ import annotations

import re
import shlex

import pytest

from faith.cli import client_settings
from faith.cli.client_settings import NAMES, Place, lines, parse, place_of
from faith.daemon.observe.status_report import ServedProxy
from faith.errors import ConfigError
from faith.proxy.proxy_events import CONNECT, HTTP, SOCKS4, SOCKS5
from faith.proxy.proxy_rules import ProxyRules
from faith.translation.ports import Ports


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("gw.example", "gw.example:1080"),
        ("gw.example:3128", "gw.example:3128"),
        ("192.0.2.1", "192.0.2.1:1080"),
        ("192.0.2.1:3128", "192.0.2.1:3128"),
        ("2001:db8::1", "[2001:db8::1]:1080"),
        ("[2001:db8::1]", "[2001:db8::1]:1080"),
        ("[2001:db8::1]:3128", "[2001:db8::1]:3128"),
    ],
)
def test_a_proxy_is_named_by_address_or_name(written: str, name: str) -> None:
    assert parse(written) == Place(name)


def test_an_authority_has_no_brackets() -> None:
    assert parse("[2001:db8::1]:3128").authority == ("2001:db8::1", 3128)
    assert parse("gw.example").authority == ("gw.example", 1080)


@pytest.mark.parametrize(
    "written", ["", ":", ":1080", "gw:0", "gw:65536", "gw:x", "a b:1", "a;b", "$(x):1", "[::1]:x"]
)
def test_what_is_no_proxy_is_refused(written: str) -> None:
    with pytest.raises(ConfigError):
        parse(written)


def test_every_program_is_told_as_a_shell_reads_it() -> None:
    told = "\n".join(lines(parse("[2001:db8::1]:3128")))
    for name in NAMES:
        assert f"\n# {name}\n" in told
    for line in told.splitlines():
        assert shlex.split(line, comments=True) or not line or line.startswith("#")
        assert "{" not in line
    assert "curl --proxy 'socks5h://[2001:db8::1]:3128' " in told
    assert "'nc -X 5 -x \"[2001:db8::1]:3128\" %h %p'" in told
    assert """echo 'Acquire::http::Proxy "http://[2001:db8::1]:3128";' > """ in told
    assert "http://[2001:db8::1]:3128/proxy.pac" in told


def test_no_shell_takes_brackets_for_a_pattern() -> None:
    for line in lines(parse("[2001:db8::1]:3128")):
        bare = re.sub(r"'[^']*'", "", line.partition("# ")[0])
        assert "[" not in bare, line


def test_only_what_the_proxy_can_be_asked_by() -> None:
    socks = "\n".join(lines(Place("gw:1080", (SOCKS5,))))
    assert "http_proxy" not in socks
    assert "proxy.pac" not in socks
    assert "chromium --proxy-server=socks5://gw:1080" in socks
    web = "\n".join(lines(Place("gw:1080", (HTTP, CONNECT))))
    assert "socks" not in web
    assert "nc -X connect -x gw:1080" in web
    assert list(lines(Place("gw:1080", (SOCKS4,)))) == ["# the proxy at gw:1080"]


def test_some_programs_in_the_order_asked_for() -> None:
    told = list(lines(parse("gw"), ["ssh", "curl"]))
    assert [line.strip() for line in told if line.startswith("\n#")] == ["# ssh", "# curl"]
    with pytest.raises(ConfigError, match="'sh' is not one of environment, curl"):
        list(lines(parse("gw"), ["sh"]))


def test_users_have_a_place_for_their_names_and_passwords() -> None:
    told = "\n".join(lines(Place("gw:1080", needs_user=True)))
    assert f"http://{client_settings.LOGIN}gw:1080" in told
    assert f"socks5h://{client_settings.LOGIN}gw:1080" in told


OWN = ["2001:db8::1", "192.0.2.1"]


@pytest.mark.parametrize(
    ("listen", "name", "others"),
    [
        ("[::]:1080", "[2001:db8::1]:1080", ("192.0.2.1:1080",)),
        ("0.0.0.0:3128", "192.0.2.1:3128", ()),
        ("[2001:db8::9]:1080", "[2001:db8::9]:1080", ()),
    ],
)
def test_where_clients_reach_a_running_proxy(
    listen: str, name: str, others: tuple[str, ...]
) -> None:
    place = place_of(ServedProxy(listen, [SOCKS5], users=1, connect_ports="80,443"), OWN)
    assert place == Place(name, (SOCKS5,), True, others, Ports([(80, 80), (443, 443)]))
    assert place.rules == ProxyRules(frozenset((SOCKS5,)), True, place.connect_ports)
    assert next(iter(lines(place))).startswith(f"# the proxy at {name}")


def test_a_host_without_addresses_has_no_place() -> None:
    assert place_of(ServedProxy("[::]:1080", [SOCKS5]), []) is None
    assert place_of(ServedProxy("0.0.0.0:1080", [SOCKS5]), OWN[:1]) is None

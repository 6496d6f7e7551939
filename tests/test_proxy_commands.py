"""``faith proxy``: what clients of a proxy are told, and the passwords of its users."""

from __future__ import annotations

import getpass
import sys
from io import BytesIO, TextIOWrapper
from ipaddress import ip_address, ip_network
from types import SimpleNamespace

import pytest

from faith.cli import faith
from faith.daemon.host import discovery
from faith.daemon.observe.status_report import Daemon, ServedProxy
from faith.kernel.netlink import interfaces, routes
from faith.proxy.password_hash import PasswordHash
from faith.translation.prefix import Prefix

ADDRESSES = ("127.0.0.1", "::1", "fe80::1", "192.0.2.1", "2001:db8::1")


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> list[ServedProxy]:
    """The proxies of a daemon that runs here, which has some addresses."""
    proxies: list[ServedProxy] = []
    daemon = Daemon(1, "x", "80", "route", 0.0, [], [], proxies=proxies)
    monkeypatch.setattr(discovery, "running", lambda: [daemon])
    own = [
        SimpleNamespace(
            address=ip_address(one), is_link_local=ip_address(one) in ip_network("fe80::/10")
        )
        for one in ADDRESSES
    ]
    monkeypatch.setattr(interfaces, "addresses", lambda: own)
    return proxies


def test_the_settings_of_a_proxy_that_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert faith.main(["proxy", "settings", "gw.example:3128", "--for", "curl"]) == 0
    assert capsys.readouterr().out == (
        "# the proxy at gw.example:3128\n\n# curl\n"
        "curl --proxy socks5h://gw.example:3128 https://www.example/\n"
    )


def test_the_settings_of_those_that_run(
    running: list[ServedProxy], capsys: pytest.CaptureFixture[str]
) -> None:
    running += [ServedProxy("[::]:1080", ["socks5"]), ServedProxy("192.0.2.1:3128", ["connect"])]
    assert faith.main(["proxy", "settings", "--for", "ssh"]) == 0
    out = capsys.readouterr().out
    assert "# the proxy at [2001:db8::1]:1080, also at 192.0.2.1:1080\n" in out
    assert 'nc -X 5 -x "[2001:db8::1]:1080" %h %p' in out
    assert "\n\n# the proxy at 192.0.2.1:3128\n" in out
    assert "nc -X connect -x 192.0.2.1:3128 %h %p" in out


def test_where_none_runs_one_has_to_be_named(
    running: list[ServedProxy], capsys: pytest.CaptureFixture[str]
) -> None:
    running.append(ServedProxy("[::]:3129", ["socks5"], tls=True))
    assert faith.main(["proxy", "settings"]) == 1
    assert "no proxy is running here; name one" in capsys.readouterr().err


def test_the_file_of_browsers(
    running: list[ServedProxy],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(routes, "reserved", lambda: [Prefix.parse("64:ff9b::/96")])
    running.append(ServedProxy("[::]:1080", ["connect"], connect_ports="443,8443"))
    assert faith.main(["proxy", "pac", "--direct", "10.0.0.0/8"]) == 0
    out = capsys.readouterr().out
    for said in ("// 64:ff9b::/96", "// 10.0.0.0/8", "PROXY [2001:db8::1]:1080", "[8443, 8443]"):
        assert said in out, said
    assert 'if (false) proxies.push("SOCKS5' in out
    running.append(ServedProxy("192.0.2.1:3128", ["connect"]))
    assert faith.main(["proxy", "pac"]) == 1
    assert "several proxies run here: name one, such as [2001:db8" in capsys.readouterr().err
    assert faith.main(["proxy", "pac", "gw.example", "--ports", "8443"]) == 0
    out = capsys.readouterr().out
    assert "PROXY gw.example:1080" in out
    assert "CONNECT_PORTS = [[8443, 8443]]" in out


def told(monkeypatch: pytest.MonkeyPatch, octets: bytes) -> None:
    """Have standard input be *octets*, and no terminal."""
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(octets)))


@pytest.mark.parametrize("octets", [b"sesame", b"sesame\n", b"sesame\r\nmore\n"])
def test_a_password_from_standard_input(
    octets: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told(monkeypatch, octets)
    assert faith.main(["proxy", "password", "alice"]) == 0
    name, _, hashed = capsys.readouterr().out.rstrip("\n").partition(":")
    assert name == "alice"
    assert PasswordHash.parse(hashed).verify(b"sesame")


@pytest.mark.parametrize(("again", "status"), [("sesame", 0), ("sesam", 1)])
def test_a_password_is_asked_for_twice_at_a_terminal(
    again: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    typed = iter(["sesame", again])
    monkeypatch.setattr(getpass, "getpass", lambda prompt: next(typed))
    assert faith.main(["proxy", "password", "alice"]) == status
    shown = capsys.readouterr()
    assert shown.out.startswith("alice:$scrypt$") == (status == 0)
    assert ("these are two passwords" in shown.err) == (status == 1)


@pytest.mark.parametrize(
    ("name", "octets", "says"),
    [
        ("a:b", b"sesame", "the name of a user has no colon"),
        ("", b"sesame", "is no name of a user"),
        ("alice", b"\n", "the password is empty"),
        ("alice", b"x" * 256, "the password has more than 255 octets"),
    ],
)
def test_a_name_or_a_password_that_cannot_be(
    name: str,
    octets: bytes,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told(monkeypatch, octets)
    assert faith.main(["proxy", "password", name]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["gw:0"], "'0' is not a port"),
        (["gw", "--for", "sh"], "'sh' is not one of environment, curl"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert faith.main(["proxy", "settings", *words]) == 2
    assert says in capsys.readouterr().err

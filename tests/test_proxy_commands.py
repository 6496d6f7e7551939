"""``faith proxy``: the settings of clients, for a proxy that is named and for those that run."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from types import SimpleNamespace

import pytest

from faith.cli import faith
from faith.daemon.host import discovery
from faith.daemon.observe.status_report import Daemon, ServedProxy
from faith.kernel.netlink import interfaces

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
    assert "nc -X 5 -x [2001:db8::1]:1080 %h %p" in out
    assert "\n\n# the proxy at 192.0.2.1:3128\n" in out
    assert "nc -X connect -x 192.0.2.1:3128 %h %p" in out


def test_where_none_runs_one_has_to_be_named(
    running: list[ServedProxy], capsys: pytest.CaptureFixture[str]
) -> None:
    assert faith.main(["proxy", "settings"]) == 1
    assert "no proxy is running here; name one" in capsys.readouterr().err


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

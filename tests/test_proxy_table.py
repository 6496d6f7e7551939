"""The tables [[proxy]] of faith.toml(5), and the options --proxy of faithd."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from faith.cli import check, serve
from faith.daemon.config import carried, config, proxy_table
from faith.daemon.config.proxy_pseudonym import usual
from faith.errors import ConfigError
from faith.proxy.proxy_events import CONNECT, HTTP, METHODS, SOCKS5
from faith.relay.proxy.proxy_settings import ProxySettings
from faith.translation.address import number6
from faith.translation.ports import ALL_PORTS, Ports
from tests.certificates import certify

if TYPE_CHECKING:
    from pathlib import Path

    from faith.daemon.config.settings import Settings
    from tests.certificates import Certify

__all__ = ["certify"]

HASH = "$scrypt$ln=14,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$" + "A" * 43
HTTPS = Ports([(443, 443)])


def read(text: str) -> Settings:
    return config.read(text, "faith.toml")


def proxies(text: str) -> tuple[ProxySettings, ...]:
    return read(text).proxies


def test_a_proxy_alone_is_enough_and_has_safe_defaults() -> None:
    settings = read("[[proxy]]\nlisten = ':1080'")
    assert settings.proxies == (ProxySettings("::", 1080, pseudonym=usual("::", 1080)),)
    assert (settings.name, str(settings.ports)) == ("proxy", "")
    (proxy,) = settings.proxies
    assert (proxy.clients, proxy.connect_ports) == (None, HTTPS)
    assert proxy.methods == {*METHODS}
    assert settings.relay.greeting_timeout == 30


def test_all_of_it_arrives_and_is_carried(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(f"# who may\nalice:{HASH}\n\n")
    (proxy,) = proxies(
        f"""
        [timeouts]
        greeting = 7
        [[proxy]]
        listen = "[2001:db8::1]:3128"
        clients = ["2001:db8:6::/48", "10.0.0.0/8", "192.0.2.7"]
        methods = ["connect", "http"]
        connect_ports = "443,8443"
        users = "{users}"
        bind = false
        associate = false
        pseudonym = "edge.example"
        autoconfig = false
        """
    )
    networks = (
        (number6("2001:db8:6::"), 48),
        (number6("10.0.0.0"), 104),
        (number6("192.0.2.7"), 128),
    )
    assert proxy == ProxySettings(
        "2001:db8::1",
        3128,
        networks,
        frozenset((CONNECT, HTTP)),
        Ports([(443, 443), (8443, 8443)]),
        {"alice": HASH},
        bind=False,
        associate=False,
        pseudonym="edge.example",
        autoconfig=False,
        users_file=str(users),
    )
    assert carried.loads(carried.dumps(proxy), ProxySettings) == proxy
    assert HASH not in repr(proxy)


@pytest.mark.parametrize(
    ("written", "host", "port"),
    [
        (":1080", "::", 1080),
        ("[::]:3128", "::", 3128),
        ("0.0.0.0:8080", "0.0.0.0", 8080),
        ("192.0.2.1:8080", "192.0.2.1", 8080),
        ("192.0.2.1", "192.0.2.1", 1080),
        ("[2001:db8::1]", "2001:db8::1", 1080),
        ("2001:DB8:0::1", "2001:db8::1", 1080),
    ],
)
def test_where_a_proxy_listens(written: str, host: str, port: int) -> None:
    assert proxy_table.address(written) == (host, port)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("1080", "1080: write :1080 for that port of all addresses"),
        ("*:3128", "*:3128: write :3128 for all addresses"),
        (":0", "'0' is not a port"),
        (":70000", "'70000' is not a port"),
        ("proxy.example:1080", "'proxy.example' is not an address"),
        ("[fe80::1%eth0]:1080", "an address without a zone"),
        ("[::ffff:192.0.2.1]:1080", "write an IPv4 address as such, as in 192.0.2.1:1080"),
        ("224.0.0.1:1080", "the address of a group"),
    ],
)
def test_where_no_proxy_listens(written: str, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        proxy_table.address(written)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("clients = []", "proxy.clients: there is nothing in it"),
        ("clients = ['2001:db8::1/32']", "host bits are set; did you mean 2001:db8::/32?"),
        ("clients = ['10.0.0.1/8']", "10.0.0.1/8: host bits are set"),
        ("clients = ['everybody']", "'everybody' is not an IPv4 address"),
        ("methods = []", "proxy.methods: there is nothing in it"),
        ("methods = ['socks']", "'socks' is not one of socks5, socks4, connect, http"),
        ("connect_ports = 'htps'", "proxy.connect_ports: 'htps' is not a TCP service"),
        ("pseudonym = 'a b'", "proxy.pseudonym: 'a b' is no name for Via"),
        ("users = 'users'", "proxy.users: 'users' is not an absolute path"),
        ("users = '/nonexistent'", "proxy.users: /nonexistent: No such file or directory; faith"),
        ("user = '/etc/users'", "user: no such key; is users meant?"),
        ("client = ['::/0']", "client: no such key; is clients meant?"),
    ],
)
def test_a_mistake_is_told_with_its_line(line: str, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)) as told:
        read(f"[[proxy]]\nlisten = ':1080'\n{line}")
    assert [(error.file, error.line) for error in told.value.errors] == [("faith.toml", 3)]


def test_a_proxy_without_an_address_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"^faith.toml:1: proxy: listen is missing"):
        read("[[proxy]]\nbind = false")


@pytest.mark.parametrize(
    ("one", "other", "says"),
    [
        (":1080", "[::]:1080", "the address and port of the proxy on line 2"),
        ("192.0.2.1:1080", ":1080", "of all addresses includes that of the proxy on line 2"),
        (":1080", "0.0.0.0:1080", "of all addresses includes that of the proxy on line 2"),
        ("0.0.0.0:1080", "192.0.2.1:1080", "of all addresses includes"),
        (":1080", "[2001:db8::1]:1080", "of all addresses includes"),
    ],
)
def test_two_proxies_cannot_have_one_address(one: str, other: str, says: str) -> None:
    text = f"[[proxy]]\nlisten = '{one}'\n[[proxy]]\nlisten = '{other}'"
    with pytest.raises(ConfigError, match=re.escape(says)) as told:
        read(text)
    assert told.value.line == 4


def test_proxies_may_share_a_port_where_their_addresses_differ() -> None:
    several = ["0.0.0.0:1080", "[2001:db8::1]:1080", ":1081", "[2001:db8::2]:1080"]
    text = "\n".join(f"[[proxy]]\nlisten = '{one}'" for one in several)
    assert [proxy.port for proxy in proxies(text)] == [1080, 1080, 1081, 1080]


def test_there_is_an_end_to_proxies() -> None:
    text = "\n".join(f"[[proxy]]\nlisten = ':{1080 + n}'" for n in range(17))
    with pytest.raises(ConfigError, match=r"^faith.toml:33: proxy: there can be 16 proxies at mo"):
        read(text)


def test_socks4_cannot_have_passwords(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(f"alice:{HASH}\n")
    text = f"[[proxy]]\nlisten = ':1080'\nusers = '{users}'\n"
    (proxy,) = proxies(text)
    assert proxy.methods == {SOCKS5, CONNECT, HTTP}
    with pytest.raises(ConfigError, match=r"^faith.toml:4: proxy.methods: socks4 has no passwords"):
        read(f"{text}methods = ['socks4']")


def test_connect_leads_to_the_ports_of_the_services() -> None:
    service = "[[service]]\nports = '80,8000-8100'\n[[proxy]]\nlisten = ':1080'\n"
    assert str(proxies(service)[0].connect_ports) == "80,443,8000-8100"
    assert str(proxies(f"{service}connect_ports = '22'")[0].connect_ports) == "22"
    assert proxies("[[service]]\nports = '1-65535'\n[[proxy]]\nlisten = ':1'")[0].connect_ports == (
        ALL_PORTS
    )


@pytest.mark.parametrize(
    ("clients", "named"),
    [
        ('["::/0"]', "::/0"),
        ('["10.0.0.0/8", "0.0.0.0/0"]', "0.0.0.0/0"),
        ('["10.0.0.0/8", "2001:db8::/32"]', None),
        (None, None),
    ],
)
def test_an_open_proxy_is_warned_of(clients: str | None, named: str | None, tmp_path: Path) -> None:
    text = "[[proxy]]\nlisten = ':1080'\n" + (f"clients = {clients}\n" if clients else "")
    found = list(proxy_table.warnings(proxies(text)))
    assert len(found) == (named is not None)
    for warning in found:
        assert (
            f"the proxy on [::]:1080 is open to everybody: it asks clients in {named} " in warning
        )
    users = tmp_path / "users"
    users.write_text(f"alice:{HASH}\n")
    assert list(proxy_table.warnings(proxies(f"{text}users = '{users}'"))) == [CLEAR]


CLEAR = "passwords travel in clear to the proxy on [::]:1080: give it a tls_certificate"


@pytest.mark.parametrize("listen", ["127.0.0.1:1080", "[::1]:1080"])
def test_passwords_do_not_travel_on_this_host(listen: str, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(f"alice:{HASH}\n")
    text = f"[[proxy]]\nlisten = '{listen}'\nusers = '{users}'\n"
    assert list(proxy_table.warnings(proxies(text))) == []


def test_tls_takes_the_keys_of_the_admin_listener(certify: Certify, tmp_path: Path) -> None:
    certificate, key = certify("proxy")
    users = tmp_path / "users"
    users.write_text(f"alice:{HASH}\n")
    secured = f"listen = ':1080'\ntls_certificate = '{certificate}'\n"
    text = f"[[proxy]]\n{secured}tls_key = '{key}'\nusers = '{users}'\n"
    settings = read(f"{text}[[proxy]]\nlisten = ':1081'\n")
    assert [proxy.tls for proxy in settings.proxies] == [True, False]
    assert [(one.host, one.port) for one in settings.proxy_tls] == [("::", 1080)]
    assert settings.proxy_tls[0].files.certificate == certificate
    assert list(proxy_table.warnings(settings.proxies)) == []
    with pytest.raises(ConfigError, match=r"^faith.toml:3: proxy.tls_certificate: .* no certif"):
        read(f"[[proxy]]\n{secured}")
    with pytest.raises(ConfigError, match=r"^faith.toml:3: proxy.tls_key: it needs a tls_cert"):
        read(f"[[proxy]]\nlisten = ':1080'\ntls_key = '{key}'")


def test_a_file_of_users_that_everybody_may_read_is_warned_of(open_directory: Path) -> None:
    users = open_directory / "users"
    users.write_text(f"alice:{HASH}\n")
    users.chmod(0o644)
    found = proxies(f"[[proxy]]\nlisten = ':1080'\nusers = '{users}'")
    clear, warning = proxy_table.warnings(found)
    assert clear == CLEAR
    assert warning.startswith(f"{users} is open to every user of this host")
    assert warning.endswith(f": chmod o= {users}")
    users.chmod(0o640)
    assert list(proxy_table.warnings(found)) == [CLEAR]


def options(*words: str) -> Settings:
    return serve._settings(serve._parser().parse_args(words))


def test_the_option_is_the_table() -> None:
    settings = options("--proxy", ":1080", "--proxy", "192.0.2.1:3128", "80")
    ports = Ports([(80, 80), (443, 443)])
    assert settings.proxies == tuple(
        ProxySettings(host, port, connect_ports=ports, pseudonym=usual(host, port))
        for host, port in (("::", 1080), ("192.0.2.1", 3128))
    )
    assert settings.name == "80"
    alone = options("--proxy", ":1080")
    proxy = ProxySettings("::", 1080, pseudonym=usual("::", 1080))
    assert (alone.services, alone.proxies) == ((), (proxy,))


def test_the_option_names_the_version_of_the_proxy_protocol_too() -> None:
    settings = options("--proxy", "v2", "--proxy", ":1080", "80")
    assert settings.services[0].proxy == "v2"
    assert len(settings.proxies) == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--proxy", "v3", "80"], "v3: 'v3' is not an address"),
        (["--proxy", "v1", "--proxy", "v2", "80"], "v1 and v2: servers expect one of them"),
        (["--proxy", "v1"], "SERVICE is missing"),
        (["--proxy", "v1", "--proxy", ":1"], "--proxy v1: that is for the servers of a SERVICE"),
        (["--proxy", ":1", "--proxy", "[::]:1"], "--proxy [::]:1: this is the address and port of"),
        ([], "SERVICE is missing, or --proxy"),
    ],
)
def test_wrong_options_are_told(words: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        options(*words)


def test_faith_check_has_a_line_for_each(tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(f"alice:{HASH}\n")
    found = check.lines(
        read(
            "[[proxy]]\nlisten = ':1080'\n[[proxy]]\nlisten = '192.0.2.1:3128'\n"
            f"clients = ['10.0.0.0/8', '2001:db8::/32']\nmethods = ['http']\nusers = '{users}'"
        )
    )
    usual = " clients: those on the gateway's links"
    assert [line for line in found if line.startswith("proxy")] == [
        f"proxy    on [::]:1080: {', '.join(METHODS)}, CONNECT to 443;{usual}",
        "proxy    on 192.0.2.1:3128: http; clients: 10.0.0.0/8, 2001:db8::/32, 1 user",
    ]

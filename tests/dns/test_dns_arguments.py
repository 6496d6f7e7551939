"""The arguments of ``faith dns``, parsed."""

from __future__ import annotations

import subprocess
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.dns.dns_arguments import DnsArguments
from faith.dns.endpoint import Endpoint
from faith.dns.options import Rule, View
from faith.errors import ConfigError
from faith.translation.address import IPV4_MAPPED
from faith.translation.prefix import RFC6052, Prefix
from tests.dns.messages import name

if TYPE_CHECKING:
    from collections.abc import Callable

P1, P2 = "2001:db8:ffff::/96", "2001:db8:fffe::/96"


def number(text: str) -> int:
    """An address as Options has those of clients."""
    address = ip_address(text)
    return int(address) if address.version == 6 else IPV4_MAPPED | int(address)


def test_without_arguments_everything_is_the_systems() -> None:
    settings = DnsArguments().settings()
    assert (settings.reserved, settings.listen, settings.forward) == (True, (), ())
    assert settings.served is None
    assert number("::ffff:192.0.2.1") in settings.options.exclude
    assert int(ip_address("127.0.0.1")) in settings.options.exclude_v4


def test_prefixes_and_their_layout() -> None:
    settings = DnsArguments(
        prefix=["2001:db8:1::/48", "2001:db8:2::/48"], layout=RFC6052
    ).settings()
    assert not settings.reserved
    assert settings.options.prefixes == (
        Prefix.parse("2001:db8:1::/48", RFC6052),
        Prefix.parse("2001:db8:2::/48", RFC6052),
    )


def test_servers_and_addresses() -> None:
    settings = DnsArguments(
        listen=["::1", "127.0.0.1:5353"],
        forward=["192.0.2.53", "tls://[2001:db8::53]#dns.example"],
    ).settings()
    assert settings.listen == (Endpoint("::1"), Endpoint("127.0.0.1", 5353))
    assert settings.forward == (
        Endpoint("192.0.2.53"),
        Endpoint("2001:db8::53", 853, "dns.example"),
    )


def test_clients_of_either_family() -> None:
    served = DnsArguments(allow=["2001:db8:6::/64", "192.0.2.0/24"]).settings().served
    assert served
    assert number("2001:db8:6::2") in served
    assert number("192.0.2.9") in served
    assert number("192.0.3.9") not in served


def test_views() -> None:
    options = (
        DnsArguments(
            prefix=[P1],
            client=[f"2001:db8:7::/48={P2}", "192.0.2.0/24=none", f"2001:db8:8::/48={P1},{P2}"],
            filter_a=["2001:db8:7:1::/64"],
        )
        .settings()
        .options
    )
    p1, p2 = Prefix.parse(P1), Prefix.parse(P2)
    assert options.view(number("2001:db8:6::1")) == View((p1,))
    assert options.view(number("2001:db8:7::1")) == View((p2,))
    assert options.view(number("2001:db8:7:1::1")) == View((p2,), filter_a=True)
    assert options.view(number("2001:db8:8::1")) == View((p1, p2))
    assert options.view(number("192.0.2.1")) == View()


def test_addresses() -> None:
    options = (
        DnsArguments(
            prefix=[P1],
            map=[f"10.0.0.0/8={P2}"],
            exclude=["2001:db8:bad::/48"],
            exclude_v4=["198.51.100.0/24"],
        )
        .settings()
        .options
    )
    view = View((Prefix.parse(P1),))
    mapped = options.addresses(int(ip_address("10.0.0.1")), view)
    assert mapped == (ip_address("2001:db8:fffe::a00:1").packed,)
    assert options.addresses(int(ip_address("198.51.100.1")), view) == ()
    assert options.addresses(int(ip_address("127.0.0.1")), view)
    assert number("2001:db8:bad::1") in options.exclude
    assert number("::ffff:192.0.2.1") not in options.exclude


def test_certificates_are_read_at_once(tmp_path: Path, need: Callable[[str], str]) -> None:
    """For workers may not be able to."""
    file = tmp_path / "ca.pem"
    words = "req -x509 -newkey rsa:2048 -nodes -subj /CN=x -keyout /dev/null"
    command = [need("openssl"), *words.split(), "-out", str(file)]
    subprocess.run(command, capture_output=True, check=True)
    text = file.read_text()
    file.write_text(f"Autorité\n{text}")
    authorities = DnsArguments(authorities=file).settings().authorities
    assert authorities
    assert authorities.endswith(text)


def test_a_pool_is_for_clients_on_ipv4() -> None:
    settings = DnsArguments(pool=["198.51.100.0/24", "203.0.113.0/25"]).settings()
    assert settings.pool == (
        (int(ip_address("198.51.100.0")), 24),
        (int(ip_address("203.0.113.0")), 25),
    )
    assert settings.options.view(number("192.0.2.9")).lends
    assert not settings.options.view(number("2001:db8::1")).lends
    assert str(settings.pool_file) == "/var/lib/faith/pool"


def test_or_for_others() -> None:
    settings = DnsArguments(
        pool=["198.51.100.0/24"], pool_client=["192.0.2.0/28"], pool_file=Path("/tmp/pool")
    ).settings()
    assert settings.options.view(number("192.0.2.9")).lends
    assert not settings.options.view(number("192.0.2.99")).lends
    assert settings.pool_file == Path("/tmp/pool")


def test_without_a_pool_nobody_borrows() -> None:
    settings = DnsArguments().settings()
    assert not settings.pool
    assert not settings.options.view(number("192.0.2.9")).lends


def test_names() -> None:
    options = (
        DnsArguments(never=["Example.COM", "."], always=["www.example.com."]).settings().options
    )
    assert options.rule(name("www.example.com.")) is Rule.ALWAYS
    assert options.rule(name("mail.example.com.")) is Rule.NEVER
    assert options.rule(name("test.")) is Rule.NEVER


@pytest.mark.parametrize(
    "arguments",
    [
        DnsArguments(prefix=["192.0.2.0/24"]),
        DnsArguments(prefix=["2001:db8::/63"], layout=RFC6052),
        DnsArguments(listen=["localhost"]),
        DnsArguments(forward=["tls://192.0.2.53"]),
        DnsArguments(allow=["everybody"]),
        DnsArguments(allow=["192.0.2.1/24"]),
        DnsArguments(client=["2001:db8:7::/48"]),
        DnsArguments(client=["2001:db8:7::/48="]),
        DnsArguments(map=["2001:db8::/32=64:ff9b::/96"]),
        DnsArguments(exclude_v4=["2001:db8::/32"]),
        DnsArguments(pool=["2001:db8::/96"]),
        DnsArguments(pool=["10.0.0.0/15"]),
        DnsArguments(pool_client=["192.0.2.0/24"]),
        DnsArguments(pool_file=Path("/tmp/pool")),
        DnsArguments(never=["a..b"]),
        DnsArguments(never=["x" * 64]),
        DnsArguments(authorities=Path("/nowhere")),
        DnsArguments(authorities=Path(__file__)),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: DnsArguments) -> None:
    with pytest.raises(ConfigError):
        arguments.settings()

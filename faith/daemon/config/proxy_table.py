"""[[proxy]] of faith.toml(5): the proxies, and how ``faithd --proxy`` names one."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from faith.daemon.config import proxy_pseudonym, proxy_users, static_map
from faith.daemon.config.listener_access import TlsFiles, tls_files
from faith.daemon.config.readers import choice, flag, parsed, several
from faith.dns import endpoint
from faith.errors import ConfigError
from faith.kernel.sockets import service_names
from faith.proxy.proxy_events import METHODS, SOCKS4
from faith.relay.proxy.proxy_settings import HTTPS, ProxySettings
from faith.translation.address import (
    ANY,
    IPV4_MAPPED,
    V4,
    V6,
    number,
    packed,
    text,
    text_as_written,
)
from faith.translation.sources import client_network

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from faith.daemon.config.tables import Document, Table
    from faith.translation.ports import Ports

KEYS = (
    *("listen", "clients", "methods", "connect_ports", "users", "bind", "associate"),
    *("pseudonym", "autoconfig", "tls_certificate", "tls_key", "tls_client_ca"),
)
PORT = 1080
"""The port of SOCKS (IANA), where none is named."""
MOST = 16
"""Proxies of one daemon: each is a listener in every worker."""
_EVERYBODY = ((0, 0), (IPV4_MAPPED, 96))
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")  # RFC 9110 §5.6.2


class ProxyTls(NamedTuple):
    """The *files* of TLS of the proxy that listens at *port* of *host*."""

    host: str
    port: int
    files: TlsFiles


Read = tuple[tuple[ProxySettings, ...], tuple[ProxyTls, ...]]
"""Proxies, and the files of those that have TLS."""
NONE: Read = (), ()


def read(document: Document, service_ports: Ports) -> Read:
    """Return the proxies that *document* describes; CONNECT leads to *service_ports* as well.

    Raises ConfigError, naming file, line and key.
    """
    found: list[tuple[ProxySettings, Table]] = []
    secured: list[ProxyTls] = []
    tables = document.tables("proxy")
    for table in tables[MOST:]:
        raise table.fault(f"there can be {MOST} proxies at most")
    for table in tables:
        both = document.attempt(partial(_proxy, table, service_ports), None)
        if both:
            proxy, files = both
            if files:
                secured.append(ProxyTls(proxy.host, proxy.port, files))
            for other, before in found:
                if overlap := _overlap(proxy, other):
                    table.note(f"{overlap} on line {before.line('listen')}", "listen")
            found.append((proxy, table))
    return tuple(proxy for proxy, _ in found), tuple(secured)


def of_options(words: list[str], service_ports: Ports) -> tuple[ProxySettings, ...]:
    """Return the proxies that the options ``--proxy`` name.  Raises ConfigError."""
    found: list[ProxySettings] = []
    for word in words:
        host, port = address(word)
        pseudonym = proxy_pseudonym.usual(host, port)
        ports = HTTPS | service_ports
        proxy = ProxySettings(host, port, connect_ports=ports, pseudonym=pseudonym)
        for other in found:
            if overlap := _overlap(proxy, other):
                raise ConfigError(f"--proxy {word}: {overlap} before it")
        found.append(proxy)
    return tuple(found)


class Hazard(NamedTuple):
    """Something hazardous about a proxy: *kind* is the id of a finding, *text* a sentence."""

    kind: str
    text: str


def warnings(proxies: Iterable[ProxySettings]) -> Iterator[str]:
    """Yield a sentence for each of the `hazards` of *proxies*."""
    return (found.text for found in hazards(proxies))


def hazards(proxies: Iterable[ProxySettings]) -> Iterator[Hazard]:
    """Yield one for each proxy that everybody may use without a password, or whose passwords
    everybody on the way can read, and for each file of users that everybody here may read."""
    for proxy in proxies:
        if proxy.users and not (proxy.tls or _is_loopback(proxy.host)):
            where = endpoint.Endpoint(proxy.host, proxy.port)
            yield Hazard(
                "proxy-passwords-clear",
                f"passwords travel in clear to the proxy on {where}: give it a tls_certificate",
            )
        if proxy.users_file and proxy_users.is_open(Path(proxy.users_file)):
            yield Hazard(
                "proxy-users-readable",
                f"{proxy.users_file} is open to every user of this host, who can try passwords by"
                f" the hashes in it: chmod o= {proxy.users_file}",
            )
        for network in proxy.clients or ():
            if network in _EVERYBODY and not proxy.users:
                where = endpoint.Endpoint(proxy.host, proxy.port)
                named = text_as_written(*network)
                yield Hazard(
                    "proxy-open",
                    f"the proxy on {where} is open to everybody: it asks clients in {named} for no"
                    " password; name your networks in clients, or users",
                )
                break


def _is_loopback(host: str) -> bool:
    return host == "::1" or host.startswith("127.")


def address(written: str) -> tuple[str, int]:
    """Read ``[ADDRESS]:PORT``, ``ADDRESS:PORT``, ``ADDRESS``, or ``:PORT`` for all addresses.

    Raises ConfigError.
    """
    all_of_them = written.startswith(":") and written.count(":") == 1
    if written.isascii() and written.isdigit():
        raise ConfigError(f"{written}: write :{written} for that port of all addresses")
    if written.startswith("*:"):
        raise ConfigError(f"{written}: write {written[1:]} for all addresses")
    host, port, _ = endpoint.parse(f"[::]{written}" if all_of_them else written, PORT)
    if "%" in host:
        raise ConfigError(f"{written}: a proxy listens at an address without a zone")
    if ":" in host and number(host) >> 32 == IPV4_MAPPED >> 32:
        raise ConfigError(f"{written}: write an IPv4 address as such, as in 192.0.2.1:{port}")
    return text(packed(host)), port


def _overlap(proxy: ProxySettings, other: ProxySettings) -> str:
    """Return why there cannot be both, as the beginning of a sentence, or ""."""
    if proxy.port != other.port:
        return ""
    if proxy.host == other.host:
        return "this is the address and port of the proxy"
    hosts = {proxy.host, other.host}
    v4 = all(":" not in host for host in hosts - {ANY[V6]})
    if ANY[V6] in hosts or (ANY[V4] in hosts and v4):
        return f"port {proxy.port} of all addresses includes that of the proxy"
    return ""


def _proxy(table: Table, service_ports: Ports) -> tuple[ProxySettings, TlsFiles | None]:
    clients = table.take("clients", _clients, None)
    users, users_file = table.take("users", _users, ({}, ""))
    usual = frozenset(METHODS) - {SOCKS4} if users else frozenset(METHODS)
    methods = table.take("methods", _methods, usual)
    connect_ports = table.take("connect_ports", parsed(service_names.ports), HTTPS | service_ports)
    bind = table.take("bind", flag, True)
    associate = table.take("associate", flag, True)
    pseudonym = table.take("pseudonym", parsed(_pseudonym), "")
    autoconfig = table.take("autoconfig", flag, True)
    files = tls_files(table)
    host, port = table.need("listen", parsed(address))
    if users and SOCKS4 in methods:
        message = f"{SOCKS4} has no passwords: leave it out, or leave out users"
        raise table.fault(message, "methods")
    pseudonym = pseudonym or proxy_pseudonym.usual(host, port)
    rest = methods, connect_ports, users, bind, associate, pseudonym, autoconfig
    proxy = ProxySettings(host, port, clients, *rest, users_file=users_file, tls=files is not None)
    return proxy, files


def _users(value: Any) -> tuple[dict[str, str], str]:
    """Return users with their hashes, and the file that has them."""
    return proxy_users.read(value), str(value)


def client_networks(written: Iterable[str]) -> list[tuple[int, int]]:
    """Return networks of 128 bits, those of IPv4 as IPv4-mapped.  Raises ConfigError."""
    return [_network(one) for one in written]


def _clients(value: Any) -> tuple[tuple[int, int], ...]:
    found = several(parsed(_network))(value)
    if not found:
        raise ConfigError("there is nothing in it: nobody could use this proxy")
    return found


def _network(written: str) -> tuple[int, int]:
    if ":" in written:
        return client_network(written)
    start, length = static_map.network4(written)
    if start & (1 << 32 - length) - 1:
        raise ConfigError(f"{written}: host bits are set")
    return IPV4_MAPPED | start, 96 + length


def _methods(value: Any) -> frozenset[str]:
    found = several(choice(METHODS))(value)
    if not found:
        raise ConfigError("there is nothing in it: nobody could ask this proxy for anything")
    return frozenset(found)


def _pseudonym(written: str) -> str:
    if not _TOKEN.fullmatch(written):
        raise ConfigError(
            f"{written!r} is no name for Via: letters, digits and -._~ only, 64 at most"
        )
    return written

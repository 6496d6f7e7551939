"""How programs are told to use a proxy: the lines that ``faith proxy settings`` prints."""

from __future__ import annotations

import re
from shlex import quote
from typing import TYPE_CHECKING, NamedTuple

from faith.dns import endpoint
from faith.dns.endpoint import Endpoint
from faith.errors import ConfigError
from faith.kernel.sockets import service_names
from faith.proxy.proxy_events import CONNECT, HTTP, METHODS, SOCKS5
from faith.proxy.proxy_rules import HTTPS, ProxyRules

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from faith.daemon.observe.status_report import ServedProxy
    from faith.translation.ports import Ports

PORT = 1080
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9])?")
LOGIN = "NAME:PASSWORD@"
"""A place for a user's name and password."""


class Place(NamedTuple):
    """A proxy as a client reaches it: *methods* are what it can be asked by, *others* more places.

    Where it *needs_user*, users have to log in.  CONNECT leads to *connect_ports*.
    """

    name: str
    methods: tuple[str, ...] = METHODS
    needs_user: bool = False
    others: tuple[str, ...] = ()
    connect_ports: Ports = HTTPS

    @property
    def rules(self) -> ProxyRules:
        """The rules of the proxy, as far as a client can know them."""
        return ProxyRules(frozenset(self.methods), self.needs_user, self.connect_ports)

    @property
    def authority(self) -> tuple[str, int]:
        """The host, without brackets, and the port."""
        host, _, port = self.name.rpartition(":")
        return host.strip("[]"), int(port)


class Program(NamedTuple):
    """A program, the methods that it *needs* of a proxy, and its *lines* with fields in braces.

    Brackets of an address are patterns for shells, some of which give up where no file matches:
    words with them are quoted, {inner} for what is in quotes already.
    """

    name: str
    needs: tuple[str, ...]
    lines: tuple[str, ...]


PROGRAMS = (
    Program(
        "environment",
        (HTTP, CONNECT),
        (
            "export http_proxy={http} https_proxy={http} HTTPS_PROXY={http}",
            "export no_proxy=localhost,127.0.0.1,::1 NO_PROXY=localhost,127.0.0.1,::1",
        ),
    ),
    Program("curl", (SOCKS5,), ("curl --proxy {socks} https://www.example/",)),
    Program("curl", (HTTP, CONNECT), ("curl --proxy {http} https://www.example/",)),
    Program(
        "wget",
        (HTTP, CONNECT),
        ("wget -e use_proxy=on -e http_proxy={http} -e https_proxy={http} https://www.example/",),
    ),
    Program("git", (SOCKS5,), ("git config --global http.proxy {socks}",)),
    Program("git", (HTTP, CONNECT), ("git config --global http.proxy {http}",)),
    Program("ssh", (SOCKS5,), ("ssh -o ProxyCommand='nc -X 5 -x {inner} %h %p' host.example",)),
    Program(
        "ssh", (CONNECT,), ("ssh -o ProxyCommand='nc -X connect -x {inner} %h %p' host.example",)
    ),
    Program(
        "npm",
        (HTTP, CONNECT),
        ("npm config set proxy {http}", "npm config set https-proxy {http}"),
    ),
    Program(
        "apt",
        (HTTP, CONNECT),
        (
            """echo 'Acquire::http::Proxy "{url}";' > /etc/apt/apt.conf.d/80proxy""",
            """echo 'Acquire::https::Proxy "{url}";' >> /etc/apt/apt.conf.d/80proxy""",
        ),
    ),
    Program("pip", (CONNECT,), ("pip config set global.proxy {http}",)),
    Program("browsers", (HTTP,), ("# automatic proxy configuration: http://{place}/proxy.pac",)),
    Program("browsers", (SOCKS5,), ("chromium --proxy-server={browser}",)),
)
"""Programs, and how each is told; of the lines for one, those come first that are best."""
NAMES = tuple(dict.fromkeys(program.name for program in PROGRAMS))


def parse(written: str) -> Place:
    """Return the place that an operator names: ``HOST[:PORT]``, an IPv6 address in brackets.

    Raises ConfigError.
    """
    host, colon, port = written.rpartition(":")
    if written.count(":") == 1 and not _is_address(host):
        named = host
    elif not colon and not _is_address(written):
        named, port = written, str(PORT)
    else:
        return Place(str(endpoint.parse(written, PORT)))
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ConfigError(f"{written}: {port!r} is not a port")
    if not _NAME.fullmatch(named):
        raise ConfigError(f"{written}: {named!r} is neither a name nor an address")
    return Place(f"{named}:{int(port)}")


def _is_address(text: str) -> bool:
    try:
        endpoint.parse(text)
    except ConfigError:
        return False
    return True


def place_of(proxy: ServedProxy, own: Iterable[str]) -> Place | None:
    """Return where clients reach a running *proxy*, on a host with its *own* addresses.

    None where there is no address that other hosts reach.
    """
    found = endpoint.parse(proxy.listen, PORT)
    addresses = [found.host]
    if found.host in ("::", "0.0.0.0"):
        addresses = [one for one in own if found.host == "::" or ":" not in one]
    if not addresses:
        return None
    first, *others = (str(Endpoint(one, found.port)) for one in addresses)
    ports = service_names.ports(proxy.connect_ports) if proxy.connect_ports else HTTPS
    return Place(first, tuple(proxy.methods), proxy.users > 0, tuple(others), ports)


def lines(place: Place, programs: Iterable[str] = ()) -> Iterator[str]:
    """Yield the lines for *programs*, all there are by default, each below its name.

    Raises ConfigError for a program that is told nothing here.
    """
    wanted = list(programs) or list(NAMES)
    for name in wanted:
        if name not in NAMES:
            raise ConfigError(f"{name!r} is not one of {', '.join(NAMES)}")
    login = LOGIN if place.needs_user else ""
    url = f"http://{login}{place.name}"
    words = {
        "place": place.name,
        "url": url,
        "http": quote(url),
        "socks": quote(f"socks5h://{login}{place.name}"),
        "browser": quote(f"socks5://{place.name}"),
        "inner": f'"{place.name}"' if quote(place.name) != place.name else place.name,
    }
    yield f"# the proxy at {place.name}{_also(place)}"
    for name in wanted:
        fitting = [one for one in PROGRAMS if one.name == name and {*one.needs} <= {*place.methods}]
        for program in fitting[:1]:
            yield f"\n# {name}"
            yield from (line.format(**words) for line in program.lines)


def _also(place: Place) -> str:
    return f", also at {', '.join(place.others)}" if place.others else ""

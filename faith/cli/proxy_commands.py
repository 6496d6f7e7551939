"""``faith proxy``: what clients of a proxy need, and the passwords of its users."""

from __future__ import annotations

import getpass
import sys
from typing import Annotated

import typer

from faith.cli import client_settings, completion
from faith.daemon.config import proxy_users
from faith.daemon.config.proxy_table import client_networks
from faith.errors import ConfigError, FaithError
from faith.kernel.netlink import interfaces, routes
from faith.kernel.sockets import service_names
from faith.proxy import autoconfig, password_hash

app = typer.Typer(help="Show what clients of a proxy need, and make the passwords of its users.")

LONGEST_PASSWORD = 255
"""Octets (RFC 1929 §2)."""

_Proxy = Annotated[
    str | None,
    typer.Argument(
        metavar="PROXY",
        help="HOST[:PORT] of the proxy, as its clients know it; that of this host if left out.",
    ),
]


@app.command("settings")
def show_settings(
    proxy: _Proxy = None,
    programs: Annotated[
        list[str] | None,
        typer.Option(
            "--for",
            metavar="PROGRAM",
            help=f"Only for one of {', '.join(client_settings.NAMES)} (repeatable).",
            autocompletion=completion.words(*client_settings.NAMES),
        ),
    ] = None,
) -> None:
    """Show how programs are told to use a proxy, such as curl, git, ssh, apt and browsers."""
    for number, place in enumerate(_places(proxy)):
        print("\n" * (number > 0) + "\n".join(client_settings.lines(place, programs or ())))


@app.command("pac")
def show_pac(
    proxy: _Proxy = None,
    ports: Annotated[
        str | None,
        typer.Option("--ports", metavar="PORTS", help="What CONNECT leads to; 443 if unknown."),
    ] = None,
    direct: Annotated[
        list[str] | None,
        typer.Option(
            "--direct",
            metavar="NETWORK",
            help="A network that clients reach without the proxy (repeatable).",
        ),
    ] = None,
) -> None:
    """Show the file by which browsers configure themselves: proxy.pac.

    Addresses under the prefixes reserved here are reached directly.
    """
    place, *others = _places(proxy)
    if others:
        raise FaithError(f"several proxies run here: name one, such as {place.name}")
    if ports is not None:
        place = place._replace(connect_ports=service_names.ports(ports))
    networks = [(prefix.address, prefix.length) for prefix in routes.reserved()]
    networks += client_networks(direct or ())
    print(autoconfig.autoconfig(*place.authority, place.rules, networks), end="")


@app.command("password")
def make_password(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The user's name.")],
) -> None:
    """Make a line for the file of users: a name and the hash of a password.

    The password is asked for twice at a terminal, or else is the first line of standard input.
    """
    proxy_users.check_name(name)
    password = _password()
    if not password:
        raise ConfigError("the password is empty")
    if len(password) > LONGEST_PASSWORD:
        raise ConfigError(f"the password has more than {LONGEST_PASSWORD} octets")
    print(f"{name}:{password_hash.hashed(password)}")


def _password() -> bytes:
    if not sys.stdin.isatty():
        return sys.stdin.buffer.readline().rstrip(b"\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Once more: ") != password:
        raise FaithError("these are two passwords; nothing is made")
    return password.encode()


def _places(proxy: str | None) -> list[client_settings.Place]:
    """Return the *proxy* that is named, or all that run here.  Raises FaithError."""
    if proxy is not None:
        return [client_settings.parse(proxy)]
    from faith.daemon.host import discovery

    own = _own_addresses()
    # Few programs know proxies by TLS, each by an option of its own: docs/proxy.rst has curl's.
    running = (one for daemon in discovery.running() for one in daemon.proxies if not one.tls)
    found = [place for one in running if (place := client_settings.place_of(one, own))]
    if not found:
        raise FaithError("no proxy is running here; name one: HOST[:PORT]")
    return found


def _own_addresses() -> list[str]:
    """Return this host's addresses that other hosts reach, those of IPv6 first."""
    found = [own.address for own in interfaces.addresses() if not own.is_link_local]
    found = [one for one in found if not one.is_loopback]
    return [str(one) for one in sorted(found, key=lambda one: (-one.version, int(one)))]

"""``faith proxy``: what clients of a proxy need, and the passwords of its users."""

from __future__ import annotations

from typing import Annotated

import typer

from faith.cli import client_settings, completion
from faith.errors import FaithError
from faith.kernel.netlink import interfaces

app = typer.Typer(help="Show what clients of a proxy need, and make the passwords of its users.")

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


def _places(proxy: str | None) -> list[client_settings.Place]:
    """Return the *proxy* that is named, or all that run here.  Raises FaithError."""
    if proxy is not None:
        return [client_settings.parse(proxy)]
    from faith.daemon.host import discovery

    own = _own_addresses()
    running = (one for daemon in discovery.running() for one in daemon.proxies)
    found = [place for one in running if (place := client_settings.place_of(one, own))]
    if not found:
        raise FaithError("no proxy is running here; name one: HOST[:PORT]")
    return found


def _own_addresses() -> list[str]:
    """Return this host's addresses that other hosts reach, those of IPv6 first."""
    found = [own.address for own in interfaces.addresses() if not own.is_link_local]
    found = [one for one in found if not one.is_loopback]
    return [str(one) for one in sorted(found, key=lambda one: (-one.version, int(one)))]

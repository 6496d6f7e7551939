"""The commands about names: ``faith dns``, ``faith hosts``, ``faith ra``."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from faith.cli import ra
from faith.errors import ConfigError, FaithError
from faith.kernel import routes
from faith.translation import pref64
from faith.translation.prefix import LAYOUTS, LOW32, Prefix

Texts = list[str] | None


def answer_names(
    prefix: Annotated[
        Texts,
        typer.Option(
            "-p", metavar="PREFIX", help="Map under this prefix, not under those reserved here."
        ),
    ] = None,
    layout: Annotated[
        str, typer.Option(metavar="|".join(LAYOUTS), help="The layout of the prefixes given here.")
    ] = LOW32,
    listen: Annotated[
        Texts,
        typer.Option(metavar="ADDRESS[:PORT]", help="Listen here, not on every own address."),
    ] = None,
    forward: Annotated[
        Texts,
        typer.Option(
            metavar="SERVER",
            help="Ask this server, not those of resolv.conf: ADDRESS[:PORT], or"
            " tls://ADDRESS[:PORT]#NAME.",
        ),
    ] = None,
    allow: Annotated[
        Texts,
        typer.Option(
            metavar="NETWORK", help="Serve these clients, not those on the networks connected here."
        ),
    ] = None,
    client: Annotated[
        Texts,
        typer.Option(
            metavar="NETWORK=PREFIX",
            help="Map under another prefix for these clients; NETWORK=none: not at all.",
        ),
    ] = None,
    map_: Annotated[
        Texts,
        typer.Option(
            "--map", metavar="IPV4=PREFIX", help="Map these IPv4 addresses under another prefix."
        ),
    ] = None,
    filter_a: Annotated[
        Texts, typer.Option(metavar="NETWORK", help="Tell these clients of no A records.")
    ] = None,
    exclude: Annotated[
        Texts,
        typer.Option(
            metavar="NETWORK",
            help="Take AAAA records in this network for absent, instead of those in ::ffff:0:0/96.",
        ),
    ] = None,
    exclude_v4: Annotated[
        Texts,
        typer.Option(
            metavar="IPV4",
            help="Map no address in this network, instead of those that the relay refuses.",
        ),
    ] = None,
    never: Annotated[
        Texts, typer.Option(metavar="DOMAIN", help="Synthesise nothing in this domain.")
    ] = None,
    always: Annotated[
        Texts, typer.Option(metavar="DOMAIN", help="Synthesise also where AAAA records exist.")
    ] = None,
    missing: Annotated[
        Texts, typer.Option(metavar="DOMAIN", help="Synthesise where they do not, as usual.")
    ] = None,
    serve_stale: Annotated[
        int,
        typer.Option(
            metavar="SECONDS", min=0, help="For so long, an old answer is better than none."
        ),
    ] = 0,
    mixed_case: Annotated[
        bool, typer.Option("--mixed-case", help="Ask in random case, against forged replies.")
    ] = False,
    authorities: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Trust these certificates only.")
    ] = None,
    pool: Annotated[
        Texts,
        typer.Option(
            metavar="IPV4",
            help="Lend addresses in this network to servers without any, for IPv4 clients.",
        ),
    ] = None,
    pool_client: Annotated[
        Texts,
        typer.Option(
            metavar="NETWORK", help="Tell these clients of lent addresses, not all on IPv4."
        ),
    ] = None,
    pool_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Keep there who was lent which, not in /var/lib/faith/pool."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, metavar="N", help="Serve by N processes.")] = 1,
    user: Annotated[str, typer.Option(metavar="USER", help="Serve as this user.")] = "nobody",
    metrics: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS[:PORT]", help="Serve /metrics and health over HTTP there."),
    ] = None,
) -> None:
    """Answer for names, so that IPv6-only clients find IPv4-only servers (DNS64, RFC 6147).

    It stays in the foreground.  Options for servers, clients and names may be repeated.
    """
    from faith.daemon import admin, forwarder
    from faith.dns import endpoint
    from faith.dns.options import Rule
    from faith.dns.words import Words

    settings = Words(
        prefix or (),
        layout,
        listen or (),
        forward or (),
        allow or (),
        client or (),
        filter_a or (),
        map_ or (),
        exclude or (),
        exclude_v4 or (),
        {Rule.NEVER: never or (), Rule.MISSING: missing or (), Rule.ALWAYS: always or ()},
        serve_stale,
        mixed_case,
        authorities,
        pool or (),
        pool_client or (),
        pool_file,
    ).settings()
    where = endpoint.parse(metrics, admin.PORT)[:2] if metrics else None
    forwarder.run(settings, workers, user, where)


def show_hosts(
    words: Annotated[list[str], typer.Argument(metavar="NAME|IPV4|FILE")],
    prefix: Annotated[
        Texts,
        typer.Option(
            "-p", metavar="PREFIX", help="Map under this prefix, not those reserved here."
        ),
    ] = None,
    layout: Annotated[
        str, typer.Option(metavar="|".join(LAYOUTS), help="The layout of the prefixes given here.")
    ] = LOW32,
) -> None:
    """Show lines for the /etc/hosts of IPv6-only hosts: servers under their mapped addresses."""
    from faith.cli import hosts

    under = _prefixes(prefix, layout)
    found = [entry for word in words for entry in hosts.entries(word)]
    print("\n".join(hosts.lines(found, under)))


def show_advertisements(
    prefix: Annotated[
        Texts,
        typer.Option("-p", metavar="PREFIX", help="Tell of this prefix, not those reserved here."),
    ] = None,
    layout: Annotated[
        str, typer.Option(metavar="|".join(LAYOUTS), help="The layout of the prefixes given here.")
    ] = LOW32,
    daemon: Annotated[
        Texts, typer.Option("--for", metavar="|".join(ra.DAEMONS), help="For this daemon only.")
    ] = None,
    interval: Annotated[
        int,
        typer.Option(
            metavar="SECONDS", min=4, max=1800, help="Advertisements come so often (their maximum)."
        ),
    ] = 600,
    lifetime: Annotated[
        int | None,
        typer.Option(
            metavar="SECONDS",
            help="Hosts are to use the prefix for so long; three intervals if not given.",
        ),
    ] = None,
) -> None:
    """Show what makes a router advertisement daemon tell hosts the prefix (PREF64, RFC 8781)."""
    under = _prefixes(prefix, layout)
    for name in daemon or ():
        if name not in ra.DAEMONS:
            raise ConfigError(f"{name}: one of {', '.join(ra.DAEMONS)} goes there")
    seconds = pref64.default_lifetime(interval) if lifetime is None else lifetime
    print(ra.snippets(under, seconds, daemon or list(ra.DAEMONS)), end="")


def _prefixes(texts: Texts, layout: str) -> list[Prefix]:
    found = [Prefix.parse(text, layout) for text in texts or ()] or routes.reserved()
    if not found:
        raise FaithError("no prefix is reserved here; give one with -p")
    return found


def join(app: typer.Typer) -> None:
    """Make these commands some of *app*'s."""
    app.command("dns")(answer_names)
    app.command("hosts")(show_hosts)
    app.command("ra")(show_advertisements)

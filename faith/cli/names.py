"""The commands about names: ``faith dns``, ``faith hosts``, ``faith ra``."""

from __future__ import annotations

from typing import Annotated

import typer

from faith.cli import completion, ra
from faith.cli import name_options as options
from faith.cli.name_options import Texts  # noqa: TC001 - typer reads the annotations
from faith.cli.version_option import VersionOption  # noqa: TC001
from faith.errors import ConfigError, FaithError, meant
from faith.kernel.netlink import routes
from faith.translation import pref64
from faith.translation.prefix import Prefix


def answer_names(
    prefix: Annotated[
        Texts, options.under("Map under this prefix, not under those reserved here.")
    ] = None,
    layout: options.Layout = None,
    listen: options.Listen = None,
    forward: options.Forward = None,
    allow: options.Allow = None,
    client: options.Client = None,
    map_: options.Map = None,
    filter_a: options.FilterA = None,
    exclude: options.Exclude = None,
    exclude_v4: options.ExcludeV4 = None,
    never: options.Never = None,
    always: options.Always = None,
    missing: options.Missing = None,
    serve_stale: options.ServeStale = 0,
    mixed_case: options.MixedCase = False,
    authorities: options.Authorities = None,
    pool: options.Pool = None,
    pool_client: options.PoolClient = None,
    pool_file: options.PoolFile = None,
    workers: options.Workers = 1,
    user: options.User = None,
    metrics: options.Metrics = None,
    version: VersionOption = False,
) -> None:
    """Answer for names, so that IPv6-only clients find IPv4-only servers (DNS64, RFC 6147).

    It stays in the foreground.  Options for servers, clients and names may be repeated.  SIGHUP has
    it read certificates and resolv.conf(5) again.
    """
    from faith.daemon import dns_daemon
    from faith.daemon.observe.health import ADMIN_PORT
    from faith.dns import endpoint
    from faith.dns.dns_arguments import DnsArguments
    from faith.kernel.process.capabilities import default_user

    arguments = DnsArguments(
        prefix=prefix or (),
        layout=layout,
        listen=listen or (),
        forward=forward or (),
        allow=allow or (),
        client=client or (),
        filter_a=filter_a or (),
        map=map_ or (),
        exclude=exclude or (),
        exclude_v4=exclude_v4 or (),
        never=never or (),
        always=always or (),
        missing=missing or (),
        serve_stale=serve_stale,
        mixed_case=mixed_case,
        authorities=authorities,
        pool=pool or (),
        pool_client=pool_client or (),
        pool_file=pool_file,
    )
    where = endpoint.parse(metrics, ADMIN_PORT)[:2] if metrics else None
    dns_daemon.run(arguments.settings, workers, user or default_user(), where)


def show_hosts(
    words: Annotated[list[str], typer.Argument(metavar="NAME|IPV4|FILE")],
    prefix: Annotated[
        Texts, options.under("Map under this prefix, not those reserved here.")
    ] = None,
    layout: options.Layout = None,
) -> None:
    """Show lines for the /etc/hosts of IPv6-only hosts: servers under their mapped addresses."""
    from faith.cli import hosts

    under = _prefixes(prefix, layout)
    found = [entry for word in words for entry in hosts.entries(word)]
    print("\n".join(hosts.lines(found, under)))


def show_advertisements(
    prefix: Annotated[Texts, options.under("Tell of this prefix, not those reserved here.")] = None,
    layout: options.Layout = None,
    daemon: Annotated[
        Texts,
        typer.Option(
            "--for",
            metavar="|".join(ra.DAEMONS),
            help="For this daemon only.",
            autocompletion=completion.words(*ra.DAEMONS),
        ),
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
            near = meant(name, ra.DAEMONS)
            raise ConfigError(f"--for {name}: not one of {', '.join(ra.DAEMONS)}{near}")
    seconds = pref64.default_lifetime(interval) if lifetime is None else lifetime
    print(ra.snippets(under, seconds, daemon or list(ra.DAEMONS)), end="")


def _prefixes(texts: Texts, layout: str | None) -> list[Prefix]:
    found = [Prefix.parse(text, layout) for text in texts or ()] or routes.reserved()
    if not found:
        raise FaithError("no prefix is reserved here; give one with -p")
    return found


def join(app: typer.Typer) -> None:
    """Make these commands some of *app*'s."""
    app.command("dns")(answer_names)
    app.command("hosts")(show_hosts)
    app.command("ra")(show_advertisements)

"""The options of the commands about names, each as an annotated type."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from faith.cli import completion
from faith.translation.prefix import LAYOUTS

Texts = list[str] | None


def under(text: str) -> Any:
    """Return the option for prefixes, with *text* as its help."""
    return typer.Option("-p", metavar="PREFIX", help=text)


Layout = Annotated[
    str | None,
    typer.Option(
        metavar="|".join(LAYOUTS),
        help="The layout of the prefixes given here.",
        autocompletion=completion.words(*LAYOUTS),
    ),
]
Listen = Annotated[
    Texts, typer.Option(metavar="ADDRESS[:PORT]", help="Listen here, not on every own address.")
]
Forward = Annotated[
    Texts,
    typer.Option(
        metavar="SERVER",
        help="Ask this server, not those of resolv.conf: ADDRESS[:PORT], or"
        " tls://ADDRESS[:PORT]#NAME.",
    ),
]
Allow = Annotated[
    Texts,
    typer.Option(
        metavar="NETWORK", help="Serve these clients, not those on the networks connected here."
    ),
]
Client = Annotated[
    Texts,
    typer.Option(
        metavar="NETWORK=PREFIX",
        help="Map under another prefix for these clients; NETWORK=none: not at all.",
    ),
]
Map = Annotated[
    Texts,
    typer.Option(
        "--map", metavar="IPV4=PREFIX", help="Map these IPv4 addresses under another prefix."
    ),
]
FilterA = Annotated[Texts, typer.Option(metavar="NETWORK", help="Send these clients no A records.")]
Exclude = Annotated[
    Texts,
    typer.Option(
        metavar="NETWORK",
        help="Treat AAAA records in this network as absent, instead of those in ::ffff:0:0/96.",
    ),
]
ExcludeV4 = Annotated[
    Texts,
    typer.Option(
        metavar="IPV4",
        help="Map no address in this network, instead of those that the relay refuses.",
    ),
]
Never = Annotated[Texts, typer.Option(metavar="DOMAIN", help="Synthesise nothing in this domain.")]
Always = Annotated[
    Texts, typer.Option(metavar="DOMAIN", help="Synthesise also where AAAA records exist.")
]
Missing = Annotated[
    Texts, typer.Option(metavar="DOMAIN", help="Synthesise where they do not, as usual.")
]
ServeStale = Annotated[
    int,
    typer.Option(
        metavar="SECONDS",
        min=0,
        help="Use answers that expired so long ago when no server answers.",
    ),
]
MixedCase = Annotated[
    bool, typer.Option("--mixed-case", help="Ask in random case, against forged replies.")
]
Authorities = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Trust these certificates only.",
        autocompletion=completion.files,
    ),
]
Pool = Annotated[
    Texts,
    typer.Option(
        metavar="IPV4",
        help="Lease addresses in this network to servers without any, for IPv4 clients.",
    ),
]
PoolClient = Annotated[
    Texts,
    typer.Option(metavar="NETWORK", help="Give these clients leased addresses, not all on IPv4."),
]
PoolFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Keep the leases there, not in /var/lib/faith/pool.",
        autocompletion=completion.files,
    ),
]
Workers = Annotated[int, typer.Option(min=1, metavar="N", help="The number of processes.")]
User = Annotated[
    str | None, typer.Option(metavar="USER", help="Serve as this user (faith, or else nobody).")
]
Metrics = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS[:PORT]", help="Serve /metrics and health over HTTP there."),
]

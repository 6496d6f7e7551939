"""The command ``faith explain``."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from faith.cli import completion
from faith.cli.explain.explanation import UNCERTAIN
from faith.dns import endpoint
from faith.errors import ConfigError, FaithError

if TYPE_CHECKING:
    from faith.cli.explain.decision_facts import Asked
    from faith.cli.explain.explanation import Explanation

_Client = Annotated[str | None, typer.Argument(metavar="CLIENT", help="The address of the client.")]
_Destination = Annotated[
    str | None,
    typer.Argument(
        metavar="DEST[:PORT]",
        help="An IPv4 address, a mapped address or a name; port 80 if none is given.",
    ),
]


def explain(
    client: _Client = None,
    destination: _Destination = None,
    udp: Annotated[bool, typer.Option("--udp", help="A datagram, not a connection.")] = False,
    ping: Annotated[bool, typer.Option("--ping", help="An echo request.")] = False,
    dial: Annotated[
        bool, typer.Option("--dial", help="Make a test connection to the server, of 3 s at most.")
    ] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Trace the client's next packets in nftables, for 15 s.")
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Answer by this faith.toml(5), and ask no daemon."),
    ] = None,
    dns: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="The name server that the client asks.")
    ] = None,
    control: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The faithd's control socket, if several run here.",
            autocompletion=completion.controls,
        ),
    ] = None,
    proxy: Annotated[
        bool, typer.Option("--proxy", help="What CLIENT asks a proxy here for.")
    ] = False,
    at: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS[:PORT]", help="Where CLIENT connects to that proxy."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> int:
    """Explain what becomes of a connection of CLIENT to DEST, and what to do if it does not work.

    Without CLIENT and DEST: check the whole set-up.
    """
    if client is None or destination is None:
        if client or udp or ping or dial or live or config or dns or control or proxy or at:
            raise ConfigError("name both: faith explain CLIENT DEST[:PORT]")
        return _doctor(as_json=as_json)
    if at and not proxy:
        raise ConfigError("--at says where a proxy is: it needs --proxy")
    if proxy and (udp or ping or dns):
        wrong = "--udp" if udp else "--ping" if ping else "--dns"
        raise ConfigError(
            f"--proxy is about connections, by names of the gateway: leave out {wrong}"
        )
    from faith.cli.explain import rendering
    from faith.cli.explain.decision_facts import Asked
    from faith.cli.explain.question_words import endpoint, question

    server = _server(dns) if dns else None
    words = question(client, destination, udp=udp, ping=ping, proxied=proxy)
    asked = Asked(words, dial, config, server, control)
    place = endpoint(at) if at else None
    try:
        found = _proxied(asked, place, live=live) if proxy else _steered(asked, live=live)
    except ConfigError:
        raise
    except (FaithError, OSError) as error:
        print(f"faith: {error}", file=sys.stderr)
        return UNCERTAIN  # 1 would say that the connection does not work
    if as_json:
        print(json.dumps(msgspec.to_builtins(found), indent=2))
    else:
        print("\n".join(rendering.lines(found)))
    return found.exit_status


def _steered(asked: Asked, *, live: bool) -> Explanation:
    """Explain a connection that is steered to a daemon.  Raises FaithError and OSError."""
    from faith.cli.explain import gathering, live_trace, walk

    facts = gathering.gather(asked)
    return walk.walk(live_trace.watch(facts) if live else facts)


def _proxied(asked: Asked, at: tuple[str, int | None] | None, *, live: bool) -> Explanation:
    """Explain what a client asks a proxy for.  Raises FaithError and OSError."""
    from faith.cli.explain import live_trace, proxied_gathering, proxied_walk

    facts = proxied_gathering.gather(asked, at)
    if live:
        facts = replace(facts, front=live_trace.watch(facts.front))
    return proxied_walk.walk(facts)


def _server(text: str) -> str:
    """Return the name server *text* as ``ADDRESS#PORT``.  Raises ConfigError."""
    found = endpoint.parse(text)
    return f"{found.host}#{found.port}"


def _doctor(*, as_json: bool) -> int:
    from faith.cli.explain import doctor, rendering

    checks = doctor.examine()
    if as_json:
        print(json.dumps({"schema": 1, "checks": msgspec.to_builtins(checks)}, indent=2))
    else:
        print("\n".join(rendering.check_lines(checks)))
    return int(any(check.state == "amiss" for check in checks))


def join(app: typer.Typer) -> None:
    """Add this command to *app*."""
    app.command("explain")(explain)

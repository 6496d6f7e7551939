"""``faith map``: shows and changes the static maps of a running faithd."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from faith.cli import completion, control_client
from faith.daemon.config import carried, static_map
from faith.daemon.config.carried import MapFields
from faith.translation.address import text4, text6
from faith.translation.map import DIRECTIONS, PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from faith.translation.map import Map

COLUMNS = ("v4", "v6", "protocols", "ports", "to_port", "direction", "file")
"""The fields of a map, in the order of the columns."""

app = typer.Typer(help="Show and change the static maps of a running faithd.")


def complete(incomplete: str) -> completion.Values:
    """Complete the IPv4 network of a map, explained by its IPv6 network."""
    return completion.found(
        lambda: ((one["v4"], one["v6"]) for one in map(fields, read(None))), incomplete
    )


_V4 = Annotated[str, typer.Argument(metavar="IPV4", help="The address or network.")]
_V6 = Annotated[str, typer.Argument(metavar="IPV6", help="The IPv6 address or network.")]
_Ports = Annotated[
    str | None, typer.Option("--ports", metavar="PORTS", help="These ports: 80,8000-8100.")
]
_ToPort = Annotated[
    str | None, typer.Option("--to-port", metavar="PORT", help="The port of the IPv6 host.")
]
_Protocols = Annotated[
    list[str] | None,
    typer.Option(
        "--protocol",
        metavar="|".join(PROTOCOLS),
        help="This protocol (repeatable).",
        autocompletion=completion.words(*PROTOCOLS),
    ),
]
_Direction = Annotated[
    str | None,
    typer.Option(
        "--direction",
        metavar="|".join(DIRECTIONS),
        help="Who begins: in is IPv4.",
        autocompletion=completion.words(*DIRECTIONS),
    ),
]
_Control = Annotated[
    Path | None,
    typer.Option(
        "--control",
        metavar="FILE",
        help="The faithd's control socket, if several run here.",
        autocompletion=completion.controls,
    ),
]


@app.command("add")
def add(
    v4: _V4,
    v6: _V6,
    ports: _Ports = None,
    to_port: _ToPort = None,
    protocols: _Protocols = None,
    direction: _Direction = None,
    save: Annotated[bool, typer.Option("--save", help="Also write it to the map file.")] = False,
    at: _Control = None,
) -> None:
    """Make faithd map one more IPv4 address or network; other connections go on."""
    options = _options(ports, to_port, protocols, direction)
    static_map.of_words(v4, v6, options)
    done = control_client.ask(at, "map", v4=v4, v6=v6, options=options, save=save)
    until = f"saved in {done['file']}" if done["file"] else "until faithd reads its files again"
    print(f"added, {until}: {done['map']}")


@app.command("del")
def delete(
    v4: Annotated[
        str,
        typer.Argument(metavar="IPV4", help="The address or network.", autocompletion=complete),
    ],
    v6: Annotated[str, typer.Argument(metavar="IPV6", help="The IPv6 address or network.")] = "",
    ports: _Ports = None,
    to_port: _ToPort = None,
    protocols: _Protocols = None,
    direction: _Direction = None,
    save: Annotated[bool, typer.Option("--save", help="Also remove it from the map file.")] = False,
    at: _Control = None,
) -> None:
    """Make faithd remove a map; options select it where there are several."""
    options = _options(ports, to_port, protocols, direction)
    done = control_client.ask(at, "unmap", v4=v4, v6=v6, options=options, save=save)
    until = f", until faithd reads {done['file']} again" if done["file"] else ""
    print(f"deleted{until}: {done['map']}")


@app.command("list")
def show(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    at: _Control = None,
) -> None:
    """Show the maps in force, and the file of each."""
    found = [fields(one) for one in read(at)]
    print(json.dumps(found, indent=2) if as_json else "\n".join(lines(found)))


def _options(
    ports: str | None, to_port: str | None, protocols: list[str] | None, direction: str | None
) -> dict[str, str]:
    said = {
        "ports": ports,
        "to_port": to_port,
        "protocols": ",".join(protocols or ()) or None,
        "direction": direction,
    }
    return {key: value for key, value in said.items() if value is not None}


def read(path: Path | None) -> list[Map]:
    """Return the maps of the faithd at *path*, by their IPv4 addresses.  Raises FaithError."""
    found = [
        carried.loads(line, MapFields).map()
        for _, text in control_client.gather(path, "maps")
        for line in text.split("\n")
        if line
    ]
    return sorted(found, key=lambda one: (one.v4, one.ports.ranges if one.ports else ()))


def fields(one: Map) -> dict[str, Any]:
    """Return a map by the names of faith.toml(5), and the *file* it was read from, for JSON."""
    return {
        "v4": text4(*one.v4),
        "v6": text6(*one.v6),
        "protocols": [protocol for protocol in PROTOCOLS if protocol in one.protocols],
        "ports": None if one.ports is None else str(one.ports),
        "to_port": one.to_port,
        "direction": one.direction,
        "file": one.file,
    }


def lines(maps: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Return a table of maps, each column as wide as its longest cell."""
    rows = [COLUMNS, *(tuple(_cell(one[key]) for key in COLUMNS) for one in maps)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(map(str.ljust, row, widths)).rstrip()


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return ",".join(value) if isinstance(value, list) else str(value)

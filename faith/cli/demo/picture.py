"""The output of the demo."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Self

from rich.align import Align
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from faith.cli.addr import dotted
from faith.cli.demo.visits import VISITS
from faith.lab.topology import CLIENT, GATEWAY_V4, GATEWAY_V6, SERVER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console, RenderableType

    from faith.cli.demo.visits import Visit
    from faith.lab import ThreeHosts

_HOSTS = (
    ("client", "IPv6 only", CLIENT),
    ("gateway", "faith, faithd", f"{GATEWAY_V6}\n{GATEWAY_V4}"),
    ("server", "IPv4 only", SERVER),
)
_NAMES = {visit.port: visit.name for visit in VISITS}
_ENDS = ("client", "mapped", "source", "server")


@dataclass(frozen=True)
class Record:
    """One line of faithd's log about a session: the ports of its four ends, and the octets."""

    ports: tuple[int, ...]
    sent: int
    received: int
    end: str

    @classmethod
    def parse(cls, line: str) -> Self:
        """Parse the ``key=value`` pairs in *line*."""
        words = dict(word.partition("=")[::2] for word in shlex.split(line))
        ports = tuple(int(words.get(key, ":0").rpartition(":")[2]) for key in _ENDS)
        return cls(ports, int(words["sent"]), int(words["received"]), words["end"])


def topology(console: Console) -> None:
    """Print the three hosts, and the networks between them."""
    panels: list[RenderableType] = [
        Panel(Text(f"{what}\n{addresses}", justify="center"), title=f"[bold]{name}", expand=False)
        for name, what, addresses in _HOSTS
    ]
    for place, name in ((1, "IPv6"), (3, "IPv4")):
        panels.insert(place, _drawn(console, f"───{name}───"))
    grid = Table.grid()
    grid.add_row(*(Align(panel, vertical="middle") for panel in panels))
    console.print(grid)


def ran(console: Console, where: str, command: str, output: str) -> None:
    """Print a command that was run at *where*, and its output."""
    if where:
        console.print(f"\n[bold]On the {where}:")
    console.print(Text.assemble("  # ", (command, "cyan")), soft_wrap=True)
    _indented(console, output.splitlines())


def client(console: Console, lab: ThreeHosts) -> None:
    """Print what the client is about to do."""
    mapped = dotted(IPv6Address(lab.mapped()))
    console.print(f"\n[bold]On the client,[/] to {mapped}, which stands for {SERVER}:")


def visit(console: Console, visit: Visit, lines: Iterable[str], *, good: bool) -> None:
    """Print the outcome of a visit."""
    verdict = ("passed", "green") if good else ("FAILED", "bold red")
    console.print(Text.assemble(f"  {visit.name}, port {visit.port}: ", verdict))
    _indented(console, lines)


def passed(console: Console, records: Iterable[Record]) -> None:
    """Print the ports and octets of each session, leg by leg."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("", "client", "", "gateway", "", "server", "sent", "received"):
        table.add_column(heading, justify="right", no_wrap=True, overflow="crop")
    arrows = [_drawn(console, f"──{name}─▶") for name in ("IPv6", "IPv4")]
    for record in records:
        here, mapped, source, there = map(str, record.ports)
        name = _NAMES.get(record.ports[1], "")
        octets = f"{record.sent:,}", f"{record.received:,}"
        table.add_row(name, here, arrows[0], f"{mapped}, {source}", arrows[1], there, *octets)
    console.print("\n[bold]What passed where[/] (the ports, and octets the client sent and got):")
    console.print(Padding(table, (0, 0, 1, 2), expand=False))


def log(console: Console, lines: Iterable[str]) -> None:
    """Print the lines that faithd logged."""
    console.print("[bold]What faithd logged:")
    _indented(console, lines, 2)


def to_try(console: Console, commands: Iterable[str], removal: str) -> None:
    """Print the commands to try, and the one that removes the network."""
    console.print("\n[bold]The network stays. To play with it:")
    _indented(console, commands, 2, "cyan")
    console.print("To take it away:")
    _indented(console, [removal], 2, "cyan")


def end(console: Console, good: bool, seconds: float) -> None:
    """Print the last line."""
    if good:
        console.print(f"\n[bold green]All connections passed[/], in {seconds:.1f} s.")
    else:
        console.print(f"\n[bold red]Not every connection passed[/], in {seconds:.1f} s.")


def _drawn(console: Console, line: str) -> Text:
    """Return *line*, in ASCII where the terminal has no more."""
    plain = line.replace("─", "-").replace("▶", ">")
    return Text(plain if console.options.ascii_only else line)


def _indented(console: Console, lines: Iterable[str], by: int = 4, style: str = "") -> None:
    for line in lines:
        console.print(Text(f"{'':{by}}{line}", style), soft_wrap=True)

"""``python -m bench.site``: what the numbers of a large site cost a daemon; docs/benchmarks.rst.

Each row is measured with every tree of ``--tree``, one after the other, in every round, so that a
change can be compared with what it changes.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from bench import ends, site_daemon
from bench.bed import ECHO, FIRST_CALLER, FLOWS, Bed, near
from bench.errors import MeasureError
from bench.flow_memory import of_maps, of_processes
from bench.holding import holding
from bench.placement import anywhere
from bench.site_daemon import PATIENCE, base, daemon, echo, pace
from bench.table import number, table
from bench.usage import family, spending
from bench.way import Way
from faith.errors import FaithError
from faith.lab import gain_rights
from faith.lab.topology import SERVER
from faith.translation.prefix import LOW32, Prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.site_daemon import Figures

HERE = Path(__file__).parents[1]
MINUTE = 60.0
CROWDED = 8007
"""The port of the server that has taken all source ports."""
CALLERS = 6
"""Processes that make connections at the same time."""
NOWHERE = "203.0.113.9"
"""An address behind the server, which drops what is for it."""
OF_END = 17_000
"""Connections of a process at either end, with the usual limit of 20,000 descriptors."""
MOST_OF_ONE = 2_100
"""Connections that a client of ours has at most."""
APART = 1_000
"""Addresses from the first caller of a process to that of the next."""
CLOSING = 3.0
"""Seconds until the last flows that were closed are no longer counted."""
OF_PROCESS = 4_500
"""Sessions of one client in a process with the usual limit of 20,000 descriptors: half of all."""


# -- the rows ------------------------------------------------------------------------------------


def prefixes(bed: Bed, tree: Path, count: int) -> Figures:
    """Reserve many prefixes, and withdraw a tenth of them."""
    tables = [f'[[prefix]]\naddress = "2001:db8:{one + 1:x}:64::/96"\n' for one in range(count)]
    whole = base(bed) + "".join(tables)
    with daemon(bed, tree, whole) as running:
        figures = {
            "start [s]": running.started,
            "faith status [s]": running.command("status"),
            "CPU at rest [ms/s]": running.at_rest(),
            "reload without a tenth [s]": running.reload(
                base(bed) + "".join(tables[count // 10 :])
            ),
            "reload with all again [s]": running.reload(whole),
        }
        begun = time.monotonic()
    return {**figures, "stop [s]": time.monotonic() - begun}


def rules(bed: Bed, tree: Path, count: int) -> Figures:
    """Go by many access rules."""
    lines = [f'"2001:db8:{one:x}::/48 permit 192.0.2.0/24",' for one in range(count)]
    text = f"{base(bed)}[access]\nrules = [\n" + "\n".join(lines)
    with daemon(bed, tree, f"{text}\n]\n") as running:
        return {
            "start [s]": running.started,
            "reload with one more [s]": running.reload(f'{text}\n"::/0 permit 192.0.2.0/24"]\n'),
            "memory [MiB]": running.memory(),
        }


def maps(bed: Bed, tree: Path, count: int) -> Figures:
    """Have many static maps, and change one at a time while clients come."""
    file = bed.directory / "maps"
    first = int(IPv6Address("2001:db8:a::"))
    with file.open("w") as out:
        for one in range(count):
            v4 = f"10.{one >> 16}.{one >> 8 & 255}.{one & 255}"
            out.write(f"{v4} {IPv6Address(first + (one << 16))}\n")
    with daemon(bed, tree, f'{base(bed)}[maps]\nfile = "{file}"\n') as running:
        figures = {"start [s]": running.started, "memory [MiB]": running.memory()}
        with pace(bed, 100) as paced:
            changes = [
                running.command("map", "add", f"10.200.0.{one}", f"2001:db8:b::{one}")
                for one in range(1, 11)
            ]
        figures["a change of one [s]"] = median(changes)
        figures["longest connection meanwhile [ms]"] = paced["longest"]
        figures["memory after ten changes [MiB]"] = running.memory()
    return figures


def sessions(bed: Bed, tree: Path, count: int) -> Figures:
    """Hold idle sessions through a reload and an upgrade."""
    processes = -(-count // OF_PROCESS)
    ports = [ECHO, *range(CROWDED, CROWDED + processes - 1)]
    for port in ports[1:]:
        echo(bed, port)
    text, mapped = base(bed, *ports), bed.lab.mapped()
    with ExitStack() as held:
        running = held.enter_context(daemon(bed, tree, text, processes + 1))
        holds = [held.enter_context(holding(bed, Way.plain(mapped, port))) for port in ports]
        before = running.memory()
        for hold in holds:
            hold(count // processes)
        figures = {
            "memory of a session [KiB]": (running.memory() - before) * 1024 / count,
            "faith sessions [s]": running.command("sessions"),
            "reload [s]": running.reload(f'{text}[access]\nrules = ["::/0 permit 0.0.0.0/0"]\n'),
        }
        with pace(bed, 100) as paced:
            figures["upgrade [s]"] = running.command("upgrade")
        figures["sessions lost"] = count // processes * processes - running.sessions()
    figures["longest connection meanwhile [ms]"] = paced["longest"]
    figures["failed meanwhile"] = paced["failed"]
    return figures


@contextmanager
def dialled(bed: Bed, address: str, counts: dict[int, int]) -> Iterator[None]:
    """Within the block, so many connections to each port of *counts* are there, and idle."""
    first = IPv6Address(FIRST_CALLER)
    programs = []
    try:
        for number, (port, count) in enumerate(counts.items()):
            argv = ends.command("dial", address, port, count, first + number * APART)
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            programs.append((bed.lab.client.popen(argv, **pipes), count))
        for program, count in programs:
            if not program.stdout or program.stdout.readline() != f"{count}\n":
                raise MeasureError(f"{count} connections could not be made")
        yield
    finally:
        for program, _ in programs:
            program.kill()
            program.communicate()


def dialling(bed: Bed, tree: Path, count: int) -> Figures:
    """Upgrade while many sessions are dialled."""
    bed.lab.gateway.links.add_route("203.0.113.0/24", SERVER)
    prefix = Prefix.parse(bed.lab.prefix, LOW32)
    nowhere = str(IPv6Address(prefix.map(int(IPv4Address(NOWHERE)))))
    text = base(bed) + "connect = 120\n[limits]\nprefix_length = 128\n"  # they have addresses
    with (
        daemon(bed, tree, text) as running,
        dialled(bed, nowhere, {ECHO: count}),
        pace(bed, 100) as paced,
    ):
        upgraded = running.command("upgrade")
    return {
        "upgrade [s]": upgraded,
        "longest connection meanwhile [ms]": paced["longest"],
        "failed meanwhile": paced["failed"],
    }


def flows(bed: Bed, tree: Path, count: int) -> Figures:
    """Hold idle flows of the kernel path through a reload and an upgrade."""
    processes = -(-count // OF_END)
    ports = [ECHO, *range(CROWDED, CROWDED + processes - 1)]
    for port in ports[1:]:
        echo(bed, port)
    limit = count + MOST_OF_ONE  # a client may have as many as are left
    text = base(bed, *ports).replace("[timeouts]", 'path = "kernel"\n[timeouts]')
    text += f'[flows]\naddresses = ["{FLOWS}"]\nlimit = {limit}\n[limits]\nprefix_length = 128\n'
    with ExitStack() as held:
        running = held.enter_context(daemon(bed, tree, text))
        pids = family([running.program.pid])
        before = of_processes(pids)
        figures = {"start [s]": running.started, "CPU at rest without [ms/s]": running.at_rest()}
        begun = time.monotonic()
        counts = dict.fromkeys(ports, count // processes)
        open_flows = sum(counts.values())
        held.enter_context(dialled(bed, bed.lab.mapped(), counts))
        figures["opened [1/s]"] = open_flows / (time.monotonic() - begun)
        maps, grown = of_maps(pids), of_processes(pids) - before
        figures |= {
            "maps, a flow [B]": maps / open_flows,
            "processes, a flow [B]": grown / open_flows,
            "memory of a flow, in all [B]": (maps + grown) / open_flows,
            "CPU at rest [ms/s]": running.at_rest(site_daemon.REST * 6),  # sweeps are 15 s apart
            "faith sessions [s]": running.command("sessions"),
            "reload [s]": running.reload(f'{text}[access]\nrules = ["::/0 permit 0.0.0.0/0"]\n'),
        }
        with pace(bed, 100) as paced:
            figures["upgrade [s]"] = running.command("upgrade")
        time.sleep(CLOSING)
        figures["sessions lost"] = open_flows - running.sessions()
    figures["longest connection meanwhile [ms]"] = paced["longest"]
    figures["failed meanwhile"] = paced["failed"]
    return figures


def exhausted(bed: Bed, tree: Path, count: int) -> Figures:
    """Connect to a server that has taken all source ports, and to another beside it."""
    gateway = bed.lab.gateway
    gateway.sysctl("net.ipv4.ip_local_port_range", "32768 60999")
    gateway.sysctl("net.ipv4.tcp_tw_reuse", 0)
    echo(bed, CROWDED)
    with daemon(bed, tree, base(bed, ECHO, CROWDED)):
        _call(bed, count)
        with pace(bed, 200, CROWDED) as full, pace(bed, 100) as other:
            time.sleep(site_daemon.REST)
    return {
        "failed towards it": full["failed"],
        "median beside it [ms]": other["median"],
        "99 % beside it [ms]": other["p99"],
        "longest beside it [ms]": other["longest"],
    }


def _call(bed: Bed, count: int) -> None:
    """Make so many short connections to the crowded port, fast, and to its end if that comes."""
    first = IPv6Address(FIRST_CALLER)
    callers = [
        bed.start(
            bed.lab.client,
            ends.command(
                "call", count // CALLERS, CROWDED, bed.lab.mapped(), 0, 1, first + number * count
            ),
        )
        for number in range(CALLERS)
    ]
    for caller in callers:
        caller.wait(PATIENCE)


def rate(bed: Bed, tree: Path, count: int) -> Figures:
    """Serve new connections at a steady rate for a minute."""
    with (
        daemon(bed, tree, base(bed)) as running,
        spending([running.program.pid]) as spent,
        pace(bed, count) as paced,
    ):
        time.sleep(MINUTE)
    return {
        "failed": paced["failed"],
        "median [ms]": paced["median"],
        "99 % [ms]": paced["p99"],
        "CPU a connection [us]": spent.contender / paced["answered"] * 1e6,
    }


ROWS = {
    "prefixes": (prefixes, 1_000),
    "rules": (rules, 10_000),
    "maps": (maps, 100_000),
    "sessions": (sessions, 50_000),
    "flows": (flows, 100_000),
    "dialling": (dialling, 15_000),
    "exhausted": (exhausted, 28_300),
    "rate": (rate, 2_000),
}
"""Each measure, and its number of things."""


def main(arguments: list[str]) -> int:
    """Measure what the command line says, and print a table; return the exit status."""
    parser = argparse.ArgumentParser("bench.site", description=__doc__)
    add = parser.add_argument
    add("--only", action="append", choices=ROWS, help="only this (repeatable)")
    add("--tree", action="append", type=Path, help="a clone with a .venv (repeatable)")
    add("--rounds", type=int, default=1, metavar="N", help="(%(default)s)")
    add("--count", type=int, metavar="N", help="so many things, whatever the row's number is")
    options = parser.parse_args(arguments)
    trees = options.tree or [HERE]
    try:
        gain_rights()
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # for those that it starts
        for name in options.only or ROWS:
            measure, count = ROWS[name]
            print(f"{name}: {options.count or count:,}", file=sys.stderr, flush=True)
            rounds = [
                [_measured(measure, tree.resolve(), options.count or count) for tree in trees]
                for _ in range(options.rounds)
            ]
            print(_table(f"{options.count or count:,} {name}", trees, rounds), flush=True)
    except (FaithError, OSError) as error:
        print(f"bench.site: {error}", file=sys.stderr)
        return 1
    return 0


def _measured(measure: Callable[[Bed, Path, int], Figures], tree: Path, count: int) -> Figures:
    with Bed(near, anywhere(), "cubic") as bed:
        return measure(bed, tree, count)


def _table(title: str, trees: list[Path], rounds: list[list[Figures]]) -> str:
    rows = [
        [
            name,
            *(number(median(one[place][name] for one in rounds), 2) for place in range(len(trees))),
        ]
        for name in rounds[0][0]
    ]
    return table([title, *(str(tree.resolve().name) for tree in trees)], rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""``python -m bench.datagrams``: UDP through faithd and others; docs/udp.rst has the figures."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench import usage
from bench.contenders.relay import faithd
from bench.errors import MeasureError
from bench.perf import counting, counts_instructions
from bench.programs import IP, IPERF3, NFT, SOCAT, TAYGA, lacking, path
from bench.table import number, table
from faith.errors import FaithError
from faith.lab import Network, gain_rights, three_hosts, wait_until
from faith.lab.topology import GATEWAY_V6, PREFIX, SERVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from bench.counting import Counts
    from bench.programs import Program
    from faith.lab import ThreeHosts

PORT = 5201
OCTETS = 200
"""Of payload in each datagram."""
RATE = 10_000
"""Datagrams a second, where it is not as many as there can be."""

_PATIENCE = 5
_QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
_TRIES = 3
_FAITH = f"""
workers = 1
control = "{{directory}}/control"
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "{PORT}"
[udp]
"""
_TAYGA = f"""
tun-device nat64
ipv4-addr 192.168.255.1
prefix {PREFIX}
dynamic-pool 192.168.255.0/24
data-dir {{directory}}
"""
_NAT = """
table ip bench {
    chain out { type nat hook postrouting priority 100; oifname "to-server" masquerade; }
}
"""


class Contender(NamedTuple):
    """What relays on the gateway: *start* returns its programs and the address to send to."""

    name: str
    needs: tuple[Program, ...]
    start: Callable[[ThreeHosts, Path], tuple[list[subprocess.Popen[str]], str]]


class Figures(NamedTuple):
    """Datagrams a second at most, and what one takes at a steady rate.

    That is the programs' CPU time in µs and, where they can be counted, the instructions of the
    whole machine, both ends included: packets that a kernel translates are in nobody's CPU time.
    """

    most: float
    programs: float
    instructions: float | None


def _start_faith(lab: ThreeHosts, directory: Path) -> tuple[list[subprocess.Popen[str]], str]:
    file = directory / "faith.toml"
    file.write_text(_FAITH.format(directory=directory))
    return [
        lab.gateway.popen([*faithd(), "-F", "--config", str(file)], stderr=subprocess.DEVNULL)
    ], lab.mapped()


def _start_tayga(lab: ThreeHosts, directory: Path) -> tuple[list[subprocess.Popen[str]], str]:
    gateway, ip = lab.gateway, path(IP)
    file = directory / "tayga.conf"
    file.write_text(_TAYGA.format(directory=directory))
    tayga = [path(TAYGA), "-c", str(file)]
    gateway.run([*tayga, "--mktun"])
    gateway.run([ip, "link", "set", "nat64", "up"])
    gateway.run([ip, "route", "add", "192.168.255.0/24", "dev", "nat64"])
    gateway.run([ip, "route", "add", PREFIX, "dev", "nat64"])
    gateway.run([path(NFT), "-f", "-"], stdin=_NAT)
    gateway.sysctl("net.ipv4.ip_forward", "1")
    gateway.sysctl("net.ipv6.conf.all.forwarding", "1")
    program = gateway.popen([*tayga, "-d"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return [program], lab.mapped()


def _start_socat(lab: ThreeHosts, directory: Path) -> tuple[list[subprocess.Popen[str]], str]:
    pairs = (
        (f"TCP6-LISTEN:{PORT},bind=[{GATEWAY_V6}],fork,reuseaddr", f"TCP4:{SERVER}:{PORT}"),
        (f"UDP6-LISTEN:{PORT},bind=[{GATEWAY_V6}],fork,reuseaddr", f"UDP4:{SERVER}:{PORT}"),
    )
    programs = [lab.gateway.popen([path(SOCAT), *pair]) for pair in pairs]
    return programs, GATEWAY_V6


CONTENDERS = (
    Contender("faithd", (), _start_faith),
    Contender("tayga", (TAYGA, IP, NFT), _start_tayga),
    Contender("socat", (SOCAT,), _start_socat),
)


def main(arguments: list[str]) -> int:
    """Run what the command line says; returns the exit status, 1 when anything went wrong."""
    parser = argparse.ArgumentParser("bench.datagrams", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="in turns (%(default)s)")
    parser.add_argument("--seconds", type=int, default=3, help="of each load (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="see whether it works")
    options = parser.parse_args(arguments)
    rounds, seconds = (1, 1) if options.quick else (options.rounds, options.seconds)
    try:
        gain_rights()
        print(_compared(rounds, seconds))
    except FaithError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def _compared(rounds: int, seconds: int) -> str:
    """A table of medians; what is not installed is left out, and a line says so."""
    there = [one for one in CONTENDERS if not lacking(one.needs)]
    if missing := lacking({need for one in CONTENDERS for need in one.needs} | {IPERF3}):
        print(f"not installed: {', '.join(missing)}", file=sys.stderr)
    found: dict[str, list[Figures]] = {one.name: [] for one in there}
    for _ in range(rounds):
        for one in there:
            found[one.name].append(_measured(one, seconds))
    rows = []
    for name, several in found.items():
        most, programs, instructions = map(_median, zip(*several, strict=True))
        rows.append([name, number(most, 0), number(programs, 1), number(instructions, 0)])
    columns = ["median", "datagrams/s", "µs of its programs", "instructions of the machine"]
    return table(columns, rows)


def _median(figures: Iterable[float | None]) -> float | None:
    there = [figure for figure in figures if figure is not None]
    return statistics.median(there) if there else None


def _measured(contender: Contender, seconds: int) -> Figures:
    with ExitStack() as undo:
        directory = Path(undo.enter_context(tempfile.TemporaryDirectory()))
        lab = three_hosts(undo.enter_context(Network()))
        programs, target = contender.start(lab, directory)
        for program in programs:
            undo.callback(program.wait, 10)
            undo.callback(program.terminate)
        wait_until(lambda: _received(lab, target, 1, RATE) is not None, 20, contender.name)
        with _counting(directory / "counts") as counts:
            before = _spent(programs)
            steady = _received(lab, target, seconds, RATE)
            spent = _spent(programs) - before
        most = None
        for _ in range(_TRIES):
            time.sleep(1)  # until the queues are empty
            most = _received(lab, target, seconds, 0)
            if most:
                break
    if not steady or not most:
        raise MeasureError(f"{contender.name}: nothing came through")
    instructions = sum(counts.values()) / steady if counts else None
    return Figures(most / seconds, spent / steady * 1e6, instructions)


def _counting(file: Path) -> AbstractContextManager[Counts]:
    """Counts of the whole machine, or none where there are none to be had."""
    return counting(file, "-a") if counts_instructions() else nullcontext({})


def _spent(programs: list[subprocess.Popen[str]]) -> float:
    """CPU seconds of *programs*, with all their processes."""
    return usage.cpu(usage.family([program.pid for program in programs]))


def _received(lab: ThreeHosts, target: str, seconds: int, rate: int) -> int | None:
    """Datagrams that the server got of *rate* a second (0: of as many as there can be).

    None when its first datagram is lost, or nobody serves yet: iperf3 does not try again.
    """
    server = lab.server.popen(
        [path(IPERF3), "-s", "-1", "-p", str(PORT)], stdout=subprocess.DEVNULL
    )
    lab.server.wait_listening(PORT, program=server)
    load = ["-u", "-l", str(OCTETS), "-b", str(rate * OCTETS * 8), "-t", str(seconds), "--json"]
    argv = [path(IPERF3), "-c", target, "-p", str(PORT), *load]
    try:
        said = lab.client.run(argv, check=False, timeout=seconds + _PATIENCE).stdout
    except subprocess.TimeoutExpired:
        said = "{}"
    server.terminate()  # where nobody has come through, it waits still
    server.wait(10)
    total = json.loads(said).get("end", {}).get("sum")
    return total["packets"] - total["lost_packets"] if total else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

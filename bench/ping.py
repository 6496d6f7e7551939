"""``python -m bench.ping``: what a ping through faithd takes; docs/ping.rst says what it means."""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench import usage
from bench.contenders.relay import faithd
from bench.programs import PING
from bench.table import number, table
from faith.errors import FaithError, SetupError
from faith.lab import Network, gain_rights, three_hosts, wait_until
from faith.lab.topology import GATEWAY_V6, PREFIX, SERVER

if TYPE_CHECKING:
    from faith.lab import Host, ThreeHosts

CONFIGURATION = f"""
workers = 1
control = "{{directory}}/control"
[[prefix]]
address = "{PREFIX}"
[[service]]
ports = "2323"
[ping]
rate = 0
rate_per_client = 0
"""
SIZES = (56, 1400, 8000)
"""Octets of payload."""

_TIME = re.compile(r"time=([\d.]+) ms")
_MICRO = 1000


def main(arguments: list[str]) -> int:
    """Run what the command line says; returns the exit status, 1 when anything went wrong."""
    parser = argparse.ArgumentParser("bench.ping", description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="pings of each kind (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="see whether it works")
    options = parser.parse_args(arguments)
    try:
        gain_rights()
        print(measured(20 if options.quick else options.count))
    except FaithError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def measured(count: int) -> str:
    """A table of round trips and of CPU time, in microseconds.  Raises SetupError."""
    if not PING.path:
        raise SetupError("measure pings", f"there is no {PING}")
    with tempfile.TemporaryDirectory() as directory, Network() as network:
        lab = three_hosts(network)
        file = Path(directory, "faith.toml")
        file.write_text(CONFIGURATION.format(directory=directory))
        program = lab.gateway.popen([*faithd(), "-F", "--config", str(file)])
        try:
            lab.gateway.wait_listening(2323, program=program)
            wait_until(lambda: bool(_times(lab.client, lab.mapped(), 1)), 5, "an answer")
            rows = [_row(lab, program.pid, size, count) for size in SIZES]
        finally:
            program.terminate()
            program.wait(10)
    return table(["octets", "hop + hop", "through faithd", "added", "CPU per ping"], rows)


def _row(lab: ThreeHosts, faithd: int, size: int, count: int) -> list[str]:
    """Medians for one size; a hop is what the kernels of its two ends answer by themselves."""
    hops = sum(
        statistics.median(_times(host, to, count, size))
        for host, to in ((lab.client, GATEWAY_V6), (lab.gateway, SERVER))
    )
    processes = usage.family([faithd])
    before = usage.cpu(processes)
    through = _times(lab.client, lab.mapped(), count, size)
    spent = (usage.cpu(processes) - before) / len(through) * 1e6
    median = statistics.median(through)
    return [str(size), *(number(us, 0) for us in (hops, median, median - hops, spent))]


def _times(host: Host, to: str, count: int, size: int = 56) -> list[float]:
    """Microseconds that each answer took."""
    argv = [PING.name, "-n", "-i", "0.002", "-W", "1", "-c", str(count), "-s", str(size), to]
    found = _TIME.findall(host.run(argv, check=False).stdout)
    return [float(milliseconds) * _MICRO for milliseconds in found]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

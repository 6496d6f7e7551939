"""``python -m bench.names``: ``faith dns`` beside its peers; docs/dns64.rst says what it means."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.comparison import Comparison
from bench.contenders.resolvers import OURS, RESOLVERS
from bench.machine import version
from bench.measures.names import Flooded, Queries
from bench.programs import DNSMASQ, DNSPERF, NAMED, UNBOUND
from bench.scale import FULL, QUICK
from bench.table import number, table
from faith.errors import FaithError
from faith.lab import gain_rights

if TYPE_CHECKING:
    from bench.measures.base import Measure
    from bench.results import Results

NAMES = (1_000, 10_000)
"""How many names are cached."""
WORKERS = 2
FEW = (20,)
"""How many when it is only to be seen whether it works."""


def main(arguments: list[str]) -> int:
    """Run what the command line says; returns the exit status, 1 when anything went wrong."""
    options = _parser().parse_args(arguments)
    quick = options.quick
    scale = replace(QUICK if quick else FULL, load=options.seconds)
    names = FEW if quick else NAMES
    several = [Queries(names[0], WORKERS), Queries(workers=WORKERS)]
    measures: list[Measure] = [*map(Queries, names), Queries(), *several, Flooded()]
    chosen = [one for one in RESOLVERS if one.name in (options.only or (one.name,))]
    try:
        gain_rights()
        comparison = Comparison(
            chosen, measures, replace(scale, rounds=options.rounds or scale.rounds)
        )
        results = comparison.run()
    except FaithError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(report(results))
    return 1 if comparison.failed else 0


def _parser() -> argparse.ArgumentParser:
    names = [one.name for one in RESOLVERS]
    parser = argparse.ArgumentParser("bench.names", description=__doc__)
    add = parser.add_argument
    add("--only", action="append", choices=names, help="only this one (repeatable)")
    add("--rounds", type=int, metavar="N", help="(3)")
    add("--seconds", type=float, default=2.0, help="that each load takes (%(default)s)")
    add("--quick", action="store_true", help="see whether it works: the figures mean nothing")
    return parser


def report(results: Results) -> str:
    """The programs, the medians, and our own divided by each of the others'."""
    versions = ", ".join(f"{p.name} {version(p)}" for p in (UNBOUND, NAMED, DNSMASQ, DNSPERF))
    notes = "".join(f"- {note}\n" for note in results.notes)
    return "\n".join(filter(None, (f"{versions}\n", _medians(results), _ratios(results), notes)))


def _medians(results: Results) -> str:
    rows = [
        [
            str(row),
            *(number(results.median(row, name), row.decimals) for name in results.contenders),
        ]
        for row in results.rows
    ]
    return table(["median", *results.contenders], rows)


def _ratios(results: Results) -> str:
    others = [name for name in results.contenders if name != OURS.name]
    rows = [
        [row.name, *(number(results.ratio((row, OURS.name), (row, name)), 2) for name in others)]
        for row in results.rows
    ]
    return table([f"{OURS.name} :", *others], rows) if others else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

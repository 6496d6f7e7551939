"""The command line."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench import instructions, profile, report, syscalls
from bench.cgroup import own_group
from bench.comparison import Comparison
from bench.contenders import ALL, CONTENDERS, PROXIES
from bench.descriptors import allow_many, most_sessions
from bench.loads import LOADS
from bench.measures import MEASURES, OF_PROXIES
from bench.scale import FULL, QUICK
from faith.errors import FaithError
from faith.lab import gain_rights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.contenders.base import Contender
    from bench.measures.base import Measure


class _Field(NamedTuple):
    """Who is compared, by what, and whose ratios to the others are wanted."""

    contenders: tuple[Contender, ...]
    measures: tuple[Measure, ...]
    ours: str


_RELAYS = _Field(CONTENDERS, MEASURES, "relay")
_PROXIES = _Field(PROXIES, OF_PROXIES, "proxy")


def main(arguments: list[str]) -> int:
    """Run what the command line says; returns the exit status, 1 when anything went wrong."""
    options = _parser().parse_args(arguments)
    try:
        gain_rights()
        allow_many()
        with own_group():
            status: int = options.run(options)
    except FaithError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "bench",
        description="Measure the relay beside its peers, in networks of namespaces on this"
        " machine.  docs/benchmarks.rst says what the figures mean.",
    )
    _add_comparison(parser, _RELAYS)
    commands = parser.add_subparsers(title="instead of this comparison", metavar="COMMAND")
    _add_comparison(commands.add_parser("proxies", help="compare proxies"), _PROXIES)
    for name, run, what in (
        ("syscalls", syscalls.run, "count the system calls per connection"),
        ("instructions", instructions.run, "count the instructions per connection"),
        ("profile", profile.run, "show where the CPU time goes"),
    ):
        command = commands.add_parser(name, help=what)
        command.add_argument("--load", choices=LOADS, default=LOADS[0], help="(%(default)s)")
        _add_only(command, ALL, "relay")
        _add_quick(command)
        command.set_defaults(run=run)
    return parser


def _add_comparison(parser: argparse.ArgumentParser, field: _Field) -> None:
    _add_only(parser, field.contenders, None)
    _add_quick(parser)
    names = [measure.name for measure in field.measures]
    parser.add_argument(
        "--measure",
        type=lambda text: _chosen(text, names),
        default=names,
        metavar="NAME,...",
        help=f"only these of: {', '.join(names)}",
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="(3)")
    parser.add_argument(
        "--congestion",
        default=FULL.congestion,
        metavar="NAME",
        help="the congestion control of TCP on all hosts (%(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there too")
    parser.set_defaults(run=_compare, field=field)


def _add_only(
    parser: argparse.ArgumentParser, contenders: Sequence[Contender], default: str | None
) -> None:
    names = [contender.name for contender in contenders]
    parser.add_argument(
        "--only",
        type=lambda text: _chosen(text, names),
        default=[default] if default else names,
        metavar="NAME,...",
        help=f"only these of: {', '.join(names)}",
    )


def _add_quick(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--quick",
        dest="scale",
        action="store_const",
        const=QUICK,
        default=FULL,
        help="see whether it works: the figures mean nothing",
    )


def _chosen(text: str, names: Sequence[str]) -> list[str]:
    chosen = text.split(",")
    for name in chosen:
        if name not in names:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(names)}")
    return chosen


def _compare(options: argparse.Namespace) -> int:
    field, scale = options.field, options.scale
    scale = replace(
        scale,
        congestion=options.congestion,
        rounds=options.rounds or scale.rounds,
        sessions=min(scale.sessions, most_sessions()),
        most_sessions=min(scale.most_sessions, most_sessions()),
    )
    comparison = Comparison(
        [contender for contender in field.contenders if contender.name in options.only],
        [measure for measure in field.measures if measure.name in options.measure],
        scale,
    )
    results = comparison.run()
    print(report.text(results, scale, field.ours))
    if options.json:
        options.json.write_text(report.as_json(results, scale) + "\n")
    return 1 if comparison.failed else 0

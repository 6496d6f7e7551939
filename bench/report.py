"""Results as text for docs/benchmarks.rst, and as JSON."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

from bench.goals import goals
from bench.machine import describe
from bench.table import number, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.measures.base import Row
    from bench.results import Results
    from bench.scale import Scale

_RELAY, _ROUTED = "relay", "routed"


def text(results: Results, scale: Scale, ours: str = _RELAY) -> str:
    """The machine, the medians, the ratios of *ours* and the goals, as reStructuredText."""
    parts = [
        "".join(f":{name}: {value}\n" for name, value in describe(scale).items()),
        f"Medians of interleaved rounds, {scale.rounds} in all:\n",
        _medians(results),
    ]
    for heading, rows in (
        (
            f"The {ours}, divided by each of the others (medians of the ratios in each round):\n",
            partial(_ratios, ours),
        ),
        ("Each, divided by the routed path:\n", _beside_routed),
        ("Goals:\n", _goals),
    ):
        if lines := rows(results, scale):
            parts += [heading, lines]
    if results.notes:
        parts.append("".join(f"- {note}\n" for note in results.notes))
    return "\n".join(parts)


def _medians(results: Results) -> str:
    contenders = results.contenders
    rows = [
        [str(row), *(number(results.median(row, name), row.decimals) for name in contenders)]
        for row in results.rows
    ]
    return table(["median", *contenders], rows)


def _ratios(ours: str, results: Results, scale: Scale) -> str:
    others = [name for name in results.contenders if name != ours]
    return _divided(results, f"{ours} :", others, lambda row, other: ((row, ours), (row, other)))


def _beside_routed(results: Results, scale: Scale) -> str:
    others = [name for name in results.contenders if name != _ROUTED]
    return _divided(results, ": routed", others, lambda row, other: ((row, other), (row, _ROUTED)))


def _divided(
    results: Results,
    title: str,
    names: list[str],
    pair: Callable[[Row, str], tuple[tuple[Row, str], tuple[Row, str]]],
) -> str:
    rows = []
    for row in results.rows:
        ratios = [results.ratio(*pair(row, name)) for name in names]
        if any(ratio is not None for ratio in ratios):
            rows.append([row.name, *(number(ratio, 2) for ratio in ratios)])
    return table([title, *names], rows) if rows else ""


def _goals(results: Results, scale: Scale) -> str:
    rows = []
    for goal in goals(scale):
        reached = goal.reached(results)
        if reached is not None:
            verdict = "met" if goal.is_met(reached) else "missed"
            decimals = 2 if goal.others else goal.row.decimals
            limit = f"{'≥' if goal.at_least else '≤'} {number(goal.limit, decimals)}"
            rows.append([str(goal), limit, number(reached, decimals), verdict])
    return table(["ratio", "goal", "measured", "verdict"], rows) if rows else ""


def as_json(results: Results, scale: Scale) -> str:
    """Every figure of every round."""
    figures: dict[str, dict[str, list[float]]] = {}
    for row, contender, values in results.cells():
        figures.setdefault(str(row), {})[contender] = values
    return json.dumps(
        {
            "machine": describe(scale),
            "rounds": scale.rounds,
            "figures": figures,
            "notes": results.notes,
        },
        indent=2,
        ensure_ascii=False,
    )

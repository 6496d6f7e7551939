"""The goals of the benchmarks, and the report of them, from figures as told."""

from __future__ import annotations

from bench.contenders import CONTENDERS, PROXIES
from bench.goals import goals
from bench.measures import MEASURES, OF_PROXIES
from bench.measures.asked import BY_CONNECT, IN_TUNNEL
from bench.measures.http import CONNECTION, MACHINE, OF_CORE
from bench.measures.latency import ROUND_TRIPS
from bench.report import text
from bench.results import Results
from bench.scale import FULL
from bench.table import NOTHING


def results() -> Results:
    """Those of a round in which the kernel path costs 1.2 of the routed path."""
    rows = [row for measure in MEASURES for row in measure.rows(FULL)]
    made = Results(rows, [contender.name for contender in CONTENDERS])
    made.add("kernel", 0, {MACHINE[CONNECTION]: 120.0, OF_CORE: 11_999.0, ROUND_TRIPS: 91.0})
    made.add("routed", 0, {MACHINE[CONNECTION]: 100.0, ROUND_TRIPS: 100.0})
    return made


def test_goals_of_the_kernel_path_are_ratios_to_the_routed_path_and_a_rate() -> None:
    figures = results()
    reached = {str(goal): (goal.reached(figures), goal) for goal in goals(FULL)}
    known = {name: (value, goal.is_met(value)) for name, (value, goal) in reached.items() if value}
    assert known == {
        "kernel, CPU per connection, whole machine : routed": (1.2, True),
        "kernel, 1-byte round trips : routed": (0.91, True),
        "kernel, connections set up, of a core of the contender's [1/s]": (11_999.0, False),
    }


def test_the_report_divides_by_the_routed_path() -> None:
    lines = [" ".join(line.split()) for line in text(results(), FULL).splitlines()]
    table = lines[lines.index("Each, divided by the routed path:") :]
    ratios = f"CPU per connection, whole machine {NOTHING} 1.20 "
    assert any(line.startswith(ratios) for line in table)
    assert any(
        line.endswith("≥ 12,000 11,999 missed") and line.startswith("kernel, ") for line in lines
    )


def test_a_tunnel_is_measured_by_a_relayed_session_and_the_way_to_it_by_the_best_proxy() -> None:
    rows = [row for measure in OF_PROXIES for row in measure.rows(FULL)]
    figures = Results(rows, [contender.name for contender in PROXIES])
    for name, (connection, request) in {
        "proxy": (300.0, 21.0),
        "squid": (400.0, 30.0),
        "tinyproxy": (200.0, 40.0),
        "relay": (100.0, 20.0),
    }.items():
        figures.add(name, 0, {BY_CONNECT.row: connection, IN_TUNNEL.row: request})
    lines = [" ".join(line.split()) for line in text(figures, FULL, "proxy").splitlines()]
    assert "The proxy, divided by each of the others" in "".join(lines)
    assert "CPU per CONNECT connection 0.75 \N{EN DASH} 1.50 3.00" in lines
    goal = "proxy, CPU per CONNECT connection : squid or tinyproxy"
    assert f"{goal} \N{LESS-THAN OR EQUAL TO} 1.00 1.50 missed" in lines
    goal = "proxy, CPU per request in a tunnel : relay"
    assert f"{goal} \N{LESS-THAN OR EQUAL TO} 1.10 1.05 met" in lines

"""The panes beside the list, from a daemon's status."""

from __future__ import annotations

import pytest

from faith.cli.top.panes import (
    PANES,
    Table,
    changes,
    findings,
    limits,
    names,
    proxies,
    summary,
    workers,
)
from faith.daemon.observe.status_report import (
    Daemon,
    Finding,
    FlowTable,
    Names,
    NameServer,
    Process,
    Proxied,
    ServedProxy,
    Traffic,
    Use,
)
from tests.top_rows import daemon


def text(tables: list[Table]) -> str:
    return "\n".join(line for table in tables for line in table.lines())


def test_workers() -> None:
    processes = [
        Process("worker 1", 101, "serving", heard=0.25, open=1200, begun=4500),
        Process("worker 2", 102, "late", heard=4.0, restarts=2),
    ]
    shown = text(workers(daemon(processes=processes))).splitlines()
    assert shown[1].split() == ["worker", "1", "101", "serving", "1,200", "4,500", "0", "0.2s"]
    assert shown[2].split() == ["worker", "2", "102", "late", "0", "0", "2", "4.0s"]
    assert "OPEN" in shown[0]


def test_names() -> None:
    servers = [
        NameServer("192.0.2.53", True),
        NameServer("192.0.2.54", False, "no answer\x1b[2J"),
    ]
    found = Names(200, 150, 40, 2, 8, 30, servers)
    shown = text(names(daemon(names=found)))
    assert "answered at once  150  75%" in shown
    assert "192.0.2.54  fails    no answer?[2J" in shown
    assert "\x1b" not in shown
    assert "answers no names" in text(names(daemon()))


def test_limits() -> None:
    found = daemon(
        uses=[
            Use("sessions", 250, 1000),
            Use("descriptors", 7, None, "dns 1"),
            Use("flows", 1, 4, "flows"),
        ],
        flows=FlowTable(["lo"], 1, 4, 0, True),
        traffic=[Traffic("relay", 3, 9, 1_500_000, 20, {}, {"denied": 2, "rate": 5})],
    )
    shown = [line.split() for line in text(limits(found)).splitlines()]
    assert ["sessions", "250", "1,000", "25%"] in shown
    assert ["descriptors", "dns", "1", "7", "no", "limit"] in shown
    assert [line for line in shown if line[0] == "flows"] == [["flows", "flows", "1", "4", "25%"]]
    assert ["relay", "3", "9", "1.5M", "20", "7"] in shown


def test_findings() -> None:
    found = daemon(
        obstacles=["worker 2 does not answer"],
        findings=[Finding("warning", "log-lost", "3 log lines were lost", "look at the disk")],
    )
    shown = text(findings(found))
    assert "not ready  worker 2 does not answer" in shown
    assert "warning    3 log lines were lost     look at the disk" in shown
    assert text(findings(daemon())) == "nothing is amiss"


def test_proxies() -> None:
    proxy = ServedProxy("[::]:1080", ["socks5", "http"], users=2, tls=True)
    other = ServedProxy("192.0.2.1:3128", ["connect"], ["192.0.2.0/24"])
    done = Proxied(3, 1, {"socks5": 1200}, {"bad request": 4})
    shown = text(proxies(daemon(proxies=[proxy, other], proxied=done))).split("\n")
    rows = [line.split() for line in shown]
    assert ["[::]:1080", "TLS", "socks5", "http", "on", "the", "links", "2"] in rows
    assert ["192.0.2.1:3128", "connect", "192.0.2.0/24"] in rows
    assert ["open", "sessions", "3"] in rows
    assert ["asked", "by", "socks5", "1,200"] in rows
    assert ["refused:", "bad", "request", "4"] in rows
    assert "no proxy" in text(proxies(daemon()))


def test_every_pane_has_something_to_say_of_a_daemon_that_says_nothing() -> None:
    for pane in PANES.values():
        assert all(any(line for line in table.lines()) for table in pane(daemon()))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "faithd http, pid 4711, ready"),
        ({"ready": False}, "faithd http, pid 4711, not ready"),
        ({"lame_duck": True}, "faithd http, pid 4711, lame duck"),
        ({"draining": True, "programs": 3}, "faithd http, pid 4711, draining, program 3"),
        ({"version": "1.2"}, "faithd 1.2 http, pid 4711, ready"),
    ],
)
def test_a_summary(fields: dict[str, object], words: str) -> None:
    assert summary(daemon(**fields)) == words


WORKER = Process("worker 1", 101, "serving", restarts=1)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (None, daemon(), []),
        (daemon(), None, []),
        (daemon(), daemon(), []),
        (daemon(), daemon(pid=4712), ["faithd was started again: pid 4711 is now pid 4712"]),
        (daemon(), daemon(started=2000.0), ["faithd was started again: pid 4711 is now pid 4711"]),
        (daemon(), daemon(programs=2, started=2000.0), ["faithd was upgraded to program 2"]),
        (
            daemon(processes=[WORKER]),
            daemon(processes=[Process("worker 1", 109, "serving", restarts=2)]),
            ["worker 1 was replaced: it is pid 109 now"],
        ),
        (daemon(), daemon(processes=[WORKER]), []),
    ],
)
def test_what_happened(before: Daemon | None, after: Daemon | None, said: list[str]) -> None:
    assert list(changes(before, after)) == said

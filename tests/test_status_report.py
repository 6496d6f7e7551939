"""The schema of the status report: what travels, and what other versions have more or less."""

from __future__ import annotations

import msgspec
import pytest

from faith.daemon.observe.findings import finding
from faith.daemon.observe.status_report import Daemon, Process, Report

DAEMON = Daemon(1, "web", "80,443", "route", 1.5, ["2001:db8:ffff::/96"], [])


def test_a_report_comes_back_as_it_was_sent() -> None:
    daemon = msgspec.structs.replace(DAEMON, findings=[finding("draining", "it ends")])
    sent = Report(2.0, "0.1", good=False, daemons=[daemon], findings=daemon.findings)
    assert msgspec.json.decode(msgspec.json.encode(sent), type=Report) == sent


def test_fields_of_later_versions_are_ignored() -> None:
    later = {**msgspec.to_builtins(Report(2.0, "9", good=True)), "weather": "fair"}
    assert msgspec.convert(later, Report) == Report(2.0, "9", good=True)


def test_the_ports_are_a_set_and_names_of_services_are_known() -> None:
    assert 443 in DAEMON.served
    assert not len(msgspec.structs.replace(DAEMON, ports="").served)


@pytest.mark.parametrize(
    ("roles", "count"), [(["worker 1", "worker 2", "old worker 1", "dns 1"], 2), ([], 0)]
)
def test_only_workers_are_counted(roles: list[str], count: int) -> None:
    processes = [Process(role, 7, "serving") for role in roles]
    assert msgspec.structs.replace(DAEMON, processes=processes).workers == count

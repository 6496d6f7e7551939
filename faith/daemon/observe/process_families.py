"""The metric families that a process, a limit or a server has a sample of, by its name."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from faith.daemon.observe.report_numbers import name_servers, open_sessions
from faith.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client.core import Metric

    from faith.daemon.observe.process_slots import Fill, ProcessNumbers, ProcessSlots

    Number = Callable[[ProcessNumbers], float | None]
    """Returns a number of a process; None where it has none."""


class ProcessFamily(NamedTuple):
    """A family with a sample for each process that has the *number*."""

    name: str
    help: str
    number: Number
    is_counter: bool = False
    up: bool = True
    """The numbers are those of processes that are up; else those of all."""


PROCESS = "process"
"""The label with the role of a process."""
_FAMILIES = (
    ProcessFamily(
        "faith_process_up",
        "1 for a process that serves and answers, 0 for one that is to be there and does not.",
        lambda one: one.up,
        up=False,
    ),
    ProcessFamily(
        "faith_process_restarts",
        "Processes that replaced a dead one.",
        lambda one: one.restarts,
        is_counter=True,
        up=False,
    ),
    ProcessFamily(
        "faith_process_heartbeat_age_seconds",
        "Seconds since a process answered a heartbeat, or the supervisor looked after others.",
        lambda one: one.heard if one.pid else None,
        up=False,
    ),
    ProcessFamily(
        "faith_process_open",
        "Sessions, flows, identifiers or look-ups that a process has open.",
        lambda one: one.open,
    ),
    ProcessFamily(
        "faith_process_begun",
        "Sessions, flows, echo requests or queries that a process and those before it have had.",
        lambda one: one.begun,
        is_counter=True,
        up=False,
    ),
    ProcessFamily(
        "process_cpu_seconds",
        "Processor time that a process has used, in seconds.",
        lambda one: one.cpu,
        is_counter=True,
    ),
    ProcessFamily(
        "process_resident_memory_bytes",
        "Resident memory of a process, pages that it shares with others included.",
        lambda one: one.memory or None,
    ),
    ProcessFamily(
        "process_open_fds", "Descriptors that a process has.", lambda one: one.descriptors or None
    ),
    ProcessFamily(
        "process_max_fds",
        "Descriptors that a process may have.",
        lambda one: one.most_descriptors,
    ),
    ProcessFamily(
        "process_start_time_seconds",
        "Unix time at which a process started.",
        lambda one: one.started,
    ),
)


class Processes(Collector):
    """The families of the processes in *slots*, of their limits, and of the servers of names."""

    def __init__(self, slots: ProcessSlots) -> None:
        self._slots = slots

    def collect(self) -> Iterator[Metric]:
        """Yield all families, those without a sample too."""
        processes = list(self._slots)
        yield _build()
        for family in _FAMILIES:
            yield _family(family, processes)
        yield from _limits(processes, open_sessions(self._slots.area))
        servers = GaugeMetricFamily(
            "faith_dns_server_up",
            "1 for a server of names that answers, 0 for one that fails.",
            labels=["server"],
        )
        for server in name_servers(self._slots):
            servers.add_metric([server.address], server.healthy)
        yield servers


def _build() -> Metric:
    labels = {
        "version": VERSION,
        "python": platform.python_version(),
        "kernel": os.uname().release,
    }
    info = GaugeMetricFamily(
        "faith_build_info", "1, with what runs as labels.", labels=list(labels)
    )
    info.add_metric(list(labels.values()), 1)
    return info


def _family(family: ProcessFamily, processes: Iterable[ProcessNumbers]) -> Metric:
    kind = CounterMetricFamily if family.is_counter else GaugeMetricFamily
    made = kind(family.name, family.help, labels=[PROCESS])
    for one in processes:
        number = family.number(one) if one.up or not family.up else None
        if number is not None:
            made.add_metric([one.role], number)
    return made


def _limits(processes: Iterable[ProcessNumbers], sessions: int) -> Iterator[Metric]:
    labels = ["limit", PROCESS]
    used = GaugeMetricFamily("faith_limit_used", "Places taken of a limit.", labels=labels)
    most = GaugeMetricFamily("faith_limit_most", "Places that a limit has.", labels=labels)
    shares = GaugeMetricFamily(
        "faith_shares_in_force",
        "1 while each client has a share only, because more than half of the places are taken.",
        labels=labels,
    )
    for one in processes:
        for fill in one.fills:
            values = [fill.table, one.role]
            used.add_metric(values, _taken(fill, sessions))
            if fill.places is not None:
                most.add_metric(values, fill.places)
            if fill.has_shares:
                shares.add_metric(values, fill.is_shared_out)
    yield from (used, most, shares)


def _taken(fill: Fill, sessions: int) -> int:
    return sessions if fill.table == "sessions" else fill.taken

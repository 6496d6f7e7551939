"""The status report as lines of text, the kind of each in the first column."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from faith.cli import open_listeners
from faith.translation.ports import Ports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.daemon.observe.status_report import (
        Daemon,
        Finding,
        FlowTable,
        PrefixReport,
        Report,
        ServedPath,
    )

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


def lines(report: Report) -> Iterator[str]:
    """Yield a line for each thing in *report*."""
    for prefix in report.prefixes:
        yield f"prefix   {prefix.prefix}, layout {prefix.layout}{_guarded(prefix)}"
    if not report.prefixes:
        yield "prefix   none is reserved (faith -e -p PREFIX reserves one)"
    if report.guard and report.guard.open_ports:
        yield f"open     {_open(Ports.parse(report.guard.open_ports, socket.getservbyname))}"
    for daemon in report.daemons:
        yield f"faithd   {_serving(daemon, report.time)}"
        yield from (f"path     {_path(path)}" for path in daemon.paths)
        if daemon.flows:
            yield f"flows    {_flows(daemon.flows)}"
    yield from map(told, report.findings)


def told(finding: Finding) -> str:
    """Return *finding* as a line."""
    return f"{finding.severity:8} {'; '.join(filter(None, (finding.text, finding.action)))}"


def _guarded(prefix: PrefixReport) -> str:
    if prefix.guarded is None:
        return ""
    return ", guarded" if prefix.guarded else ", not guarded"


def _open(ports: Ports) -> str:
    served = [port for port in open_listeners.on_any_address() if port in ports]
    whose = open_listeners.named(served) or "nobody listens"
    return f"ports {ports}, to ordinary listeners: {whose}"


def _serving(daemon: Daemon, now: float) -> str:
    ports = f"port {daemon.ports}" if daemon.ports.isdigit() else f"ports {daemon.ports}"
    named = any(map(str.isalpha, daemon.service))
    if not daemon.ports:
        service = daemon.service
    else:
        service = f"{daemon.service}, {ports}" if named else ports
    return ", ".join(
        filter(
            None,
            (
                service,
                f"by {daemon.via}",
                _count(daemon.workers, "worker") if daemon.workers else "",
                f"pid {daemon.pid}",
                f"for {duration(now - daemon.started)}",
                _count(daemon.sessions, "session"),
                "taking no more" if daemon.draining else "",
            ),
        )
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _path(path: ServedPath) -> str:
    """Return how connections go, as ``80: kernel path`` or ``21: relay path: FTP``."""
    return ": ".join(filter(None, (path.ports, f"{path.path} path", path.reason)))


def _flows(flows: FlowTable) -> str:
    """Return the state of the kernel path, as ``3 of 65,536, on lo, eth0; end with the daemon``."""
    dropped = f"; {flows.dropped:,} SYNs beyond the rates were dropped" if flows.dropped else ""
    life = "go on when it is killed" if flows.outlives else "end with the daemon"
    where = ", ".join(flows.interfaces)
    return f"{flows.open:,} of {flows.slots:,}, on {where}; they {life}{dropped}"


def duration(seconds: float) -> str:
    """Return *seconds* in the largest unit that fits: ``3 min``."""
    for unit, name in _UNITS:
        if seconds >= unit:
            return f"{int(seconds // unit)} {name}"
    return f"{max(0, int(seconds))} s"

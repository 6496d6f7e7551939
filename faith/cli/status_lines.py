"""The status report as lines of text, the kind of each in the first column."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from msgspec import json

from faith.cli import open_listeners
from faith.daemon.observe.status_report import Report
from faith.translation.ports import NO_PORTS, Ports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faith.daemon.observe.status_report import (
        Daemon,
        Finding,
        FlowTable,
        PrefixReport,
        Proxied,
        ServedPath,
        ServedProxy,
    )

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


def text(report: Report) -> str:
    """Return *report* as text."""
    return "\n".join(lines(report))


def in_json(report: Report, indent: int = 0) -> str:
    """Return *report* as JSON, in one line unless there is an *indent*."""
    encoded = json.encode(report)
    return (json.format(encoded, indent=indent) if indent else encoded).decode()


def schema() -> str:
    """Return the JSON Schema of a report."""
    return json.format(json.encode(json.schema(Report)), indent=2).decode()


def lines(report: Report) -> Iterator[str]:
    """Yield a line for each thing in *report*."""
    for prefix in report.prefixes:
        yield f"prefix   {prefix.prefix}, layout {prefix.layout}{_guarded(prefix)}"
    if not report.prefixes:
        yield "prefix   none is reserved (faith -e -p PREFIX reserves one)"
    text = report.guard.open_ports if report.guard else ""
    opened = Ports.parse(text, socket.getservbyname) if text else NO_PORTS
    if text:
        yield f"open     {_open(opened)}"
    for one in report.listeners:
        if one.port not in opened:
            holder = one.holder or "a process that cannot be seen"
            yield f"listens  port {one.port}, without a daemon: {holder}"
    for daemon in report.daemons:
        yield f"faithd   {_serving(daemon, report.time)}"
        yield from (f"path     {_path(path)}" for path in daemon.paths)
        yield from (f"proxy    {_proxy(proxy)}" for proxy in daemon.proxies)
        if daemon.proxied:
            yield f"proxied  {_proxied(daemon.proxied)}"
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
                f"by {daemon.via}" if daemon.ports else "",
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


def _proxy(proxy: ServedProxy) -> str:
    """Return a proxy, as ``[::]:1080: socks5, http, clients on the links``."""
    clients = f"clients {', '.join(proxy.clients)}" if proxy.clients else "clients on the links"
    users = f", {_count(proxy.users, 'user')}" if proxy.users else ""
    tls = " by TLS" if proxy.tls else ""
    return f"{proxy.listen}{tls}: {', '.join(proxy.methods)}, {clients}{users}"


def _proxied(found: Proxied) -> str:
    """Return what clients of proxies do, as ``3 sessions; asked: socks5 12; refused: bad request
    1``."""
    sends = f", {found.associations:,} with datagrams" if found.associations else ""
    asked, refused = (
        ", ".join(f"{name} {count:,}" for name, count in counts.items())
        for counts in (found.asked, found.refusals)
    )
    return f"{_count(found.open, 'session')}{sends}; asked: {asked or 'none'}" + (
        f"; refused: {refused}" if refused else ""
    )


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

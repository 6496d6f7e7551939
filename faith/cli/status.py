"""The report of ``faith status``: what is reserved here, who serves it, and what is wrong."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from faith.cli import open_listeners
from faith.cli.prefixes import guarded_only
from faith.daemon.host import discovery, guard_findings, host_findings
from faith.daemon.observe.findings import all_well, finding
from faith.daemon.observe.status_report import Finding, Listener, Report
from faith.errors import SetupError
from faith.kernel.netlink import routes
from faith.kernel.nft import guard
from faith.translation.ports import NO_PORTS
from faith.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from faith.daemon.observe.status_report import Daemon
    from faith.kernel.nft.guard import GuardState
    from faith.translation.prefix import Prefix


def read() -> Report:
    """Return the status of this host, as far as the user's privileges allow.

    Raises OSError when even the routes cannot be read.
    """
    owners, daemons = routes.owners(), discovery.running()
    silent = discovery.silent(daemons)
    prefixes, hidden = tuple(owners), discovery.hidden()
    unannounced = [] if daemons or silent else discovery.unannounced()
    findings: list[Finding] = []
    listeners: list[Listener] = []
    state = None
    try:
        state = guard.inspect()
    except guard.NoNftables:
        text = f"no guard, because this kernel has no nftables: {open_listeners.exposed()}"
        findings.append(finding("guard-off", text))
    except SetupError as error:
        findings.append(finding("guard-unseen", str(error)))
    if prefixes:
        findings += host_findings.about_the_host(prefixes, daemons)
        if not (hidden or silent or unannounced):
            findings += _abandoned(owners, daemons)
            listeners = open_listeners.serving(state.open_ports if state else NO_PORTS)
    if state:
        risk = "" if state.present else open_listeners.exposed()
        findings += guard_findings.about_the_guard(state, prefixes, risk)
        findings += _left_in_the_guard(state, prefixes)
    if hidden:
        text = f"faithds: {hidden}, which only root and their own users may ask"
        findings.append(finding("daemons-unseen", text))
    elif unannounced:
        findings += map(_unannounced, unannounced)
    elif prefixes and not silent and not daemons and not listeners:
        text = "no faithd is running: connections to the reserved prefixes are refused"
        findings.append(finding("no-daemon", text, "faithd SERVICE"))
    findings += map(_hung, silent)
    findings += _about_daemons(daemons, prefixes)
    if prefixes:
        findings += host_findings.advice()
    return Report(
        time.time(),
        VERSION,
        all_well(findings),
        guard_findings.prefix_reports(state, prefixes),
        guard_findings.guard_report(state),
        daemons,
        findings,
        listeners,
    )


def _hung(pid: int) -> Finding:
    text = f"the faithd with pid {pid} does not answer; its processes may go on without it"
    return finding("daemon-hung", text, f"kill -CONT {pid} if it is stopped; else restart it")


def _unannounced(pid: int) -> Finding:
    text = f"the faithd with pid {pid} cannot be asked: its socket is not in {discovery.DIRECTORY}"
    return finding("daemons-unseen", text, "see its log; FAITH_RUNTIME_DIRECTORY names another")


def _abandoned(owners: Mapping[Prefix, int], daemons: Iterable[Daemon]) -> Iterator[Finding]:
    held = {text for daemon in daemons for text in daemon.sets_up}
    for prefix, owner in owners.items():
        if owner == routes.OF_DAEMONS and str(prefix) not in held:
            yield finding(
                "prefix-abandoned",
                f"{prefix} was reserved by a faithd that was killed: the next one takes it over, or"
                " releases it",
                f"faith -d -p {prefix} releases it now",
            )


def _left_in_the_guard(state: GuardState, prefixes: Sequence[Prefix]) -> Iterator[Finding]:
    if prefixes and not state.present:
        return
    for network in guarded_only(state, prefixes):
        yield finding(
            "guard-left",
            f"{network} is guarded but not reserved: its route is gone",
            f"faith -e -p {network} reserves it, faith -e drops it",
        )


def _about_daemons(daemons: Sequence[Daemon], prefixes: tuple[Prefix, ...]) -> Iterator[Finding]:
    for daemon in daemons:
        who = f"faithd {daemon.service} (pid {daemon.pid})"
        for one in daemon.findings:
            yield Finding(one.severity, one.id, f"{who}: {one.text}", one.action)
        if not prefixes and (daemon.ports or not daemon.proxies):
            yield finding("no-prefix", f"{who} has no prefix to relay from", "faith -e -p PREFIX")
        relayed = set(daemon.prefixes)
        for prefix in prefixes:
            if str(prefix) not in relayed:
                yield finding("prefix-not-relayed", f"{who} does not relay from {prefix}")

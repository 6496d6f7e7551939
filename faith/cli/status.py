"""The report of ``faith status``: what is reserved here, who serves it, and what is wrong."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from faith.cli import open_listeners
from faith.cli.prefixes import guarded_only
from faith.daemon.host import discovery
from faith.daemon.observe.findings import all_well, finding
from faith.daemon.observe.status_report import Finding, Guard, PrefixReport, Report
from faith.errors import SetupError
from faith.kernel.netlink import routes
from faith.kernel.nft import guard
from faith.kernel.nft.guard import PRIORITY
from faith.kernel.sockets import tcp_sysctls
from faith.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from faith.daemon.observe.status_report import Daemon
    from faith.kernel.nft.guard import GuardState
    from faith.kernel.nft.translators import Translator
    from faith.translation.prefix import Prefix


def read() -> Report:
    """Return the status of this host, as far as the user's privileges allow.

    Raises OSError when even the routes cannot be read.
    """
    owners, daemons = routes.owners(), discovery.running()
    prefixes, hidden = tuple(owners), discovery.hidden()
    findings: list[Finding] = []
    state = None
    try:
        state = guard.inspect()
    except guard.NoNftables:
        text = f"no guard, because this kernel has no nftables: {open_listeners.exposed()}"
        findings.append(finding("guard-off", text))
    except SetupError as error:
        findings.append(finding("guard-unseen", str(error)))
    if prefixes:
        findings += _about_routes(prefixes)
        if not hidden:
            findings += _abandoned(owners, daemons)
    if state:
        findings += _about_the_guard(state, prefixes)
    if hidden:
        text = f"faithds: {hidden}, which only root and their own users may ask"
        findings.append(finding("daemons-unseen", text))
    elif prefixes and not daemons and not (state and state.open_ports):
        text = "no faithd is running: connections to the reserved prefixes are refused"
        findings.append(finding("no-daemon", text))
    findings += _about_daemons(daemons, prefixes)
    if prefixes:
        findings += [finding("sysctl", text) for text in tcp_sysctls.advice()]
    return Report(
        time.time(),
        VERSION,
        all_well(findings),
        [PrefixReport(str(one), one.layout, _guarded(state, one)) for one in prefixes],
        Guard(state.present, state.intact, str(state.open_ports)) if state else None,
        daemons,
        findings,
    )


def _guarded(state: GuardState | None, prefix: Prefix) -> bool | None:
    """Return whether the guard holds *prefix*, None if it could not be read."""
    return state.intact and state.covers(prefix) if state else None


def _about_routes(prefixes: Sequence[Prefix]) -> Iterator[Finding]:
    for text in routes.forwarding_warnings():
        yield finding("clients-unreachable" if "IPv6" in text else "no-default-route", text)
    for prefix, why in routes.conflicts_of(prefixes):
        yield finding("prefix-conflict", f"{prefix}: {why}")


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


def _about_the_guard(state: GuardState, prefixes: tuple[Prefix, ...]) -> Iterator[Finding]:
    if prefixes and not state.present:
        text = f"the guard is off: {open_listeners.exposed()}"
        yield finding("guard-off", text, "faith -e puts it back")
        return
    if state.present and not state.intact:
        text = "the guard has been altered"
        yield finding("guard-altered", text, "faith -e puts it back as it should be")
    for prefix in prefixes:
        if not state.covers(prefix):
            text = f"{prefix} is not in the guard"
            yield finding("guard-incomplete", text, "faith -e puts it there")
    if prefixes:
        yield from map(_passed_by, state.passed_by)
    for network in guarded_only(state, prefixes):
        yield finding(
            "guard-left",
            f"{network} is guarded but not reserved: its route is gone",
            f"faith -e -p {network} reserves it, faith -e drops it",
        )


def _passed_by(translator: Translator) -> Finding:
    return finding(
        "guard-passed-by",
        f"{translator}, translates addresses before the guard sees them: it may take connections"
        " under the prefixes elsewhere",
        f"give it a priority above {PRIORITY}"
        if translator.priority <= PRIORITY
        else "faith -e puts the guard before it, and a running faithd does so by itself",
    )


def _about_daemons(daemons: Sequence[Daemon], prefixes: tuple[Prefix, ...]) -> Iterator[Finding]:
    for daemon in daemons:
        who = f"faithd {daemon.service} (pid {daemon.pid})"
        for one in daemon.findings:
            yield Finding(one.severity, one.id, f"{who}: {one.text}", one.action)
        if not prefixes:
            yield finding("no-prefix", f"{who} has no prefix to relay from", "faith -e -p PREFIX")
        relayed = set(daemon.prefixes)
        for prefix in prefixes:
            if str(prefix) not in relayed:
                yield finding("prefix-not-relayed", f"{who} does not relay from {prefix}")

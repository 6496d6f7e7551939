"""The report of a daemon about itself: for discovery, the control socket and the admin listener."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.json import encode

from faith.daemon.config import proxy_table
from faith.daemon.host import guard_findings, host_findings
from faith.daemon.observe import report_numbers
from faith.daemon.observe.findings import all_well, finding
from faith.daemon.observe.status_report import Daemon, Repairs, Report, ServedProxy
from faith.dns.endpoint import Endpoint
from faith.errors import SetupError
from faith.kernel.nft import guard
from faith.proxy.proxy_events import METHODS
from faith.translation.address import text_as_written
from faith.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from faith.daemon.config.settings import Settings
    from faith.daemon.host.held_prefixes import HeldPrefixes
    from faith.daemon.host.readiness_probes import ReadinessProbes
    from faith.daemon.observe.metric_areas import MetricAreas
    from faith.daemon.observe.status_report import Finding, Process
    from faith.daemon.reload import Reloads
    from faith.daemon.services.kernel_path import KernelPath
    from faith.daemon.services.liveness import Liveness
    from faith.daemon.services.relaying import Relaying
    from faith.daemon.services.running_policy import RunningPolicy
    from faith.daemon.shutdown import Shutdown
    from faith.daemon.upgrade.upgrades import Upgrades
    from faith.relay.proxy.proxy_settings import ProxySettings
    from faith.translation.prefix import Prefix

JUST = 60.0
"""Seconds for which it is reported that a process was replaced."""


@dataclass(eq=False)
class SelfReport:
    """Reports on the parts of one daemon; *settings* are those of the moment.

    *no_control* returns why it has no control socket that it was to have.
    """

    settings: Callable[[], Settings]
    relaying: Relaying
    kernel_path: KernelPath
    policy: RunningPolicy
    reservations: HeldPrefixes
    metric_areas: MetricAreas
    liveness: Liveness
    upgrades: Upgrades
    reloads: Reloads
    shutdown: Shutdown
    no_control: Callable[[], list[str]]
    probes: ReadinessProbes

    def daemon(self) -> Daemon:
        """Return the state of the daemon at this moment."""
        settings, areas = self.settings(), self.metric_areas
        processes = list(self.liveness.processes(drains=self.shutdown.drains))
        probes = self.probes.results()
        failing = filter(None, (one.obstacle for one in probes))
        obstacles = [*areas.condition.obstacles(), *failing]
        return Daemon(
            pid=os.getpid(),
            service=settings.name,
            ports=str(settings.ports),
            via=self.relaying.steering.method,
            started=self.upgrades.started,
            prefixes=[str(prefix) for prefix in self.policy.inputs.prefixes],
            sets_up=[str(prefix) for prefix in self.reservations.set_up],
            version=VERSION,
            sessions=areas.open_sessions(),
            ready=not obstacles,
            obstacles=obstacles,
            draining=self.shutdown.drains,
            lame_duck=self.shutdown.is_lame_duck,
            control=str(settings.control) if settings.control and not self.no_control() else None,
            programs=self.upgrades.programs,
            failed=self.upgrades.failures,
            reload=self.reloads.last,
            processes=processes,
            paths=self.kernel_path.paths(),
            proxies=[*map(_served, settings.proxies)],
            proxied=report_numbers.proxied(areas.slots, has_proxies=bool(settings.proxies)),
            flows=self.kernel_path.report(),
            traffic=report_numbers.traffic(areas.slots),
            dialling=areas.dials.report(),
            uses=report_numbers.uses(areas.slots),
            names=report_numbers.names(areas.slots),
            probes=[*probes, *self.probes.quorum()],
            repairs=Repairs(*areas.condition.repairs),
            log_lines_lost=areas.lost_log_lines(),
            findings=[*self._findings(processes)],
        )

    def text(self) -> str:
        """Return a `Report` with this daemon alone, the guard and the host, as JSON."""
        daemon, prefixes = self.daemon(), self.policy.inputs.prefixes
        try:
            state = guard.inspect()
        except SetupError:  # no right to see it, or no nftables
            state = None
        risk = "servers of this host answer under the prefixes"
        found = guard_findings.about_the_guard(state, prefixes, risk) if state else ()
        findings = [*daemon.findings, *_about_the_host(prefixes, daemon), *found]
        report = Report(
            time.time(),
            VERSION,
            all_well(findings),
            guard_findings.prefix_reports(state, prefixes),
            guard_findings.guard_report(state),
            [daemon],
            findings,
        )
        return encode(report).decode()

    def _findings(self, processes: list[Process]) -> Iterator[Finding]:
        yield from self._about_the_life()
        yield from self._about_processes(processes)
        yield from self._about_the_service()
        for probe in (*self.probes.results(), *self.probes.quorum()):
            if not probe.good:
                yield finding("probe-failed", probe.obstacle)
        yield from self.metric_areas.findings()
        yield from self.kernel_path.findings()
        yield from self.relaying.conflicts.findings()

    def _about_the_life(self) -> Iterator[Finding]:
        """Yield the end that it comes to, and failed reloads and upgrades."""
        if self.shutdown.drains:
            yield finding("draining", "it accepts no new connections, and ends with its sessions")
        if self.shutdown.is_lame_duck:
            yield finding(
                "lame-duck", "a lame duck: it drains soon, and accepts connections until then"
            )
        last = self.reloads.last
        if last and not last.good:
            yield finding(
                "reload-failed",
                f"the last reload failed, and the settings before it go on: {last.error}",
                "mend the file, check it by faith check, and faith reload",
            )
        if failed := self.upgrades.failures:
            times = "once" if failed == 1 else f"{failed} times"
            yield finding(
                "upgrade-failed",
                f"the upgrade failed {times}, and the old program goes on",
                "see its log",
            )

    def _about_processes(self, processes: list[Process]) -> Iterator[Finding]:
        for one in processes:
            who = f"{one.role} (pid {one.pid})"
            if one.state == "late":
                yield finding("process-hung", f"{who} does not answer; it is replaced soon")
            elif one.state == "restarting":
                text = f"{one.role} died; another takes its place soon"
                yield finding("process-restarting", text, "see its log")
            elif one.replaced is not None and one.replaced < JUST:
                text = f"{one.role} died, and another took its place {one.replaced:.0f} s ago"
                yield finding("process-restarting", text, "see its log")
        if not (self.relaying.pool.serving or self.shutdown.drains):
            yield finding("no-worker", "no worker serves: connections wait, or are refused")

    def _about_the_service(self) -> Iterator[Finding]:
        if address := self.policy.waits_for:
            text = f"a standby: maps and added sources are another's, which has {address}"
            yield finding("standby", text)
        for why in self.no_control():
            yield finding("control-missing", why)
        for address in self.policy.inputs.absent:
            yield finding(
                "source-absent",
                f"it connects nobody from {address} until this host has it",
                f"ip address add {address}/32 dev lo",
            )
        for text in self.settings().ended_certificates(time.time()):
            yield finding("certificate-ended", text, "get another one, then faith reload")
        for hazard in proxy_table.hazards(self.settings().proxies):
            yield finding(hazard.kind, hazard.text)
        for path in self.kernel_path.paths():
            if path.path == "relay" and path.reason:
                text = f"ports {path.ports} go by the relay, not by the kernel path: {path.reason}"
                yield finding("path-fallback", text)


def _about_the_host(prefixes: Sequence[Prefix], daemon: Daemon) -> list[Finding]:
    """Return what is amiss around *daemon*, as `faith status` sees it, without prefixes nothing."""
    if not prefixes:
        return []
    try:
        return [*host_findings.about_the_host(prefixes, [daemon]), *host_findings.advice()]
    except OSError:  # no netlink
        return []


def _served(proxy: ProxySettings) -> ServedProxy:
    return ServedProxy(
        str(Endpoint(proxy.host, proxy.port)),
        [method for method in METHODS if method in proxy.methods],
        [text_as_written(*network) for network in proxy.clients or ()],
        len(proxy.users),
        str(proxy.connect_ports),
        proxy.tls,
    )

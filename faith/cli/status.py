"""The report of ``faith status``: what is reserved here, who serves it, and what is wrong."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from faith.cli import open_listeners
from faith.cli.prefixes import guarded_only
from faith.daemon.host import discovery
from faith.errors import SetupError
from faith.kernel.netlink import routes
from faith.kernel.nft import guard
from faith.kernel.nft.guard import PRIORITY
from faith.kernel.sockets import tcp_sysctls

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from faith.daemon.host.discovery import FlowTableReport, Running, ServedPath
    from faith.kernel.nft.guard import GuardState
    from faith.kernel.nft.translators import Translator
    from faith.translation.prefix import Prefix

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


@dataclass(frozen=True)
class Status:
    """The state of this host, and the warnings that follow from it.

    *guard* is None when it could not be read; *unseen* says what could not be read, and why.
    *advice* names settings of the kernel that had better be others.
    """

    prefixes: tuple[Prefix, ...]
    guard: GuardState | None
    faithds: tuple[Running, ...]
    warnings: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()

    def fields(self) -> dict[str, Any]:
        """Return everything for JSON; ``guard`` and each ``guarded`` are null when not readable."""
        return {
            "prefixes": [
                {
                    "prefix": str(prefix),
                    "layout": prefix.layout,
                    "guarded": self.guard and self.guard.covers(prefix),
                }
                for prefix in self.prefixes
            ],
            "guard": self.guard
            and {
                "present": self.guard.present,
                "intact": self.guard.intact,
                "open_ports": str(self.guard.open_ports),
            },
            "faithds": [asdict(faithd) for faithd in self.faithds],
            "warnings": list(self.warnings),
            "unseen": list(self.unseen),
            "advice": list(self.advice),
        }

    def lines(self) -> Iterator[str]:
        """Return a line of text for each thing, its kind in the first column."""
        for prefix in self.prefixes:
            yield f"prefix   {prefix}, layout {prefix.layout}{self._guarded(prefix)}"
        if not self.prefixes:
            yield "prefix   none is reserved (faith -e -p PREFIX reserves one)"
        if self.guard and self.guard.open_ports:
            yield f"open     {_open(self.guard)}"
        for faithd in self.faithds:
            yield f"faithd   {_serving(faithd)}"
            yield from (f"path     {_path(path)}" for path in faithd.paths)
            if faithd.flows:
                yield f"flows    {_flows(faithd.flows)}"
        yield from (f"warning  {warning}" for warning in self.warnings)
        yield from (f"unseen   {unseen}" for unseen in self.unseen)
        yield from (f"advice   {advice}" for advice in self.advice)

    def _guarded(self, prefix: Prefix) -> str:
        if self.guard is None:
            return ""
        return ", guarded" if self.guard.intact and self.guard.covers(prefix) else ", not guarded"


def read() -> Status:
    """Return the status of this host, as far as the user's privileges allow.

    Raises OSError when even the routes cannot be read.
    """
    owners, faithds = routes.owners(), tuple(discovery.running())
    prefixes, hidden = tuple(owners), discovery.hidden()
    warnings, unseen = [], []
    state = None
    try:
        state = guard.inspect()
    except guard.NoNftables:
        warnings += [f"no guard, because this kernel has no nftables: {open_listeners.exposed()}"]
    except SetupError as error:
        unseen.append(str(error))
    if prefixes:
        warnings += routes.forwarding_warnings()
        warnings += [f"{prefix}: {why}" for prefix, why in routes.conflicts_of(prefixes)]
        if not hidden:
            warnings += _abandoned(owners, faithds)
    if state:
        warnings += _guard_warnings(state, prefixes)
    if hidden:
        unseen.append(f"faithds: {hidden}, which only root and their own users may ask")
    elif prefixes and not faithds and not (state and state.open_ports):
        warnings.append("no faithd is running: connections to the reserved prefixes are refused")
    warnings += _faithd_warnings(faithds, prefixes)
    advice = tuple(tcp_sysctls.advice()) if prefixes else ()
    return Status(prefixes, state, faithds, tuple(warnings), tuple(unseen), advice)


def _abandoned(owners: Mapping[Prefix, int], faithds: Iterable[Running]) -> Iterator[str]:
    held = {text for faithd in faithds for text in faithd.sets_up}
    for prefix, owner in owners.items():
        if owner == routes.OF_DAEMONS and str(prefix) not in held:
            yield (
                f"{prefix} was reserved by a faithd that was killed: the next one takes it over, or"
                f" releases it; faith -d -p {prefix} releases it now"
            )


def _guard_warnings(state: GuardState, prefixes: tuple[Prefix, ...]) -> Iterator[str]:
    if prefixes and not state.present:
        yield f"the guard is off: {open_listeners.exposed()}; faith -e puts it back"
        return
    if state.present and not state.intact:
        yield "the guard has been altered; faith -e puts it back as it should be"
    for prefix in prefixes:
        if not state.covers(prefix):
            yield f"{prefix} is not in the guard; faith -e puts it there"
    if prefixes:
        yield from map(_passed_by, state.passed_by)
    for network in guarded_only(state, prefixes):
        yield (
            f"{network} is guarded but not reserved: its route is gone;"
            f" faith -e -p {network} reserves it, faith -e drops it"
        )


def _passed_by(translator: Translator) -> str:
    return (
        f"{translator}, translates addresses before the guard sees them: it may take connections"
        " under the prefixes elsewhere; "
        + (
            f"give it a priority above {PRIORITY}"
            if translator.priority <= PRIORITY
            else "faith -e puts the guard before it, and a running faithd does so by itself"
        )
    )


def _faithd_warnings(faithds: tuple[Running, ...], prefixes: tuple[Prefix, ...]) -> Iterator[str]:
    for faithd in faithds:
        who = f"faithd {faithd.service} (pid {faithd.pid})"
        yield from (f"{who}: {late} does not answer; it is replaced soon" for late in faithd.late)
        for address in faithd.absent:
            yield (
                f"{who} connects nobody from {address} until this host has it"
                f" (ip address add {address}/32 dev lo)"
            )
        if lost := faithd.log_lines_lost:
            yield f"{who} has lost {lost} log line{'s' * (lost > 1)}, for which there was no room"
        yield from (f"{who}: {warning}" for warning in faithd.warnings)
        if not prefixes:
            yield f"{who} has no prefix to relay from"
        relayed = set(faithd.prefixes)
        for prefix in prefixes:
            if str(prefix) not in relayed:
                yield f"{who} does not relay from {prefix}"


def _open(state: GuardState) -> str:
    served = [port for port in open_listeners.on_any_address() if port in state.open_ports]
    whose = open_listeners.named(served) or "nobody listens"
    return f"ports {state.open_ports}, to ordinary listeners: {whose}"


def _serving(faithd: Running) -> str:
    ports = f"port {faithd.ports}" if faithd.ports.isdigit() else f"ports {faithd.ports}"
    named = any(map(str.isalpha, faithd.service))
    if not faithd.ports:
        service = faithd.service
    else:
        service = f"{faithd.service}, {ports}" if named else ports
    workers = "1 worker" if faithd.workers == 1 else f"{faithd.workers} workers"
    sessions = "1 session" if faithd.sessions == 1 else f"{faithd.sessions} sessions"
    draining = ", taking no more" if faithd.draining else ""
    since = _duration(time.time() - faithd.started)
    return (
        f"{service}, by {faithd.via}, {workers}, pid {faithd.pid}, for {since},"
        f" {sessions}{draining}"
    )


def _path(path: ServedPath) -> str:
    """Return how connections go, as ``80: kernel path`` or ``21: relay path: FTP``."""
    return ": ".join(filter(None, (path.ports, f"{path.path} path", path.reason)))


def _flows(flows: FlowTableReport) -> str:
    """Return the state of the kernel path, as ``3 of 65,536, on lo, eth0; end with the daemon``."""
    dropped = f"; {flows.dropped:,} SYNs beyond the rates were dropped" if flows.dropped else ""
    life = "go on when it is killed" if flows.outlives else "end with the daemon"
    where = ", ".join(flows.interfaces)
    return f"{flows.open:,} of {flows.slots:,}, on {where}; they {life}{dropped}"


def _duration(seconds: float) -> str:
    for unit, name in _UNITS:
        if seconds >= unit:
            return f"{int(seconds // unit)} {name}"
    return f"{max(0, int(seconds))} s"

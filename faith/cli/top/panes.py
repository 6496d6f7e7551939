"""The panes beside the list of sessions: each a table of texts, made from a daemon's status."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from faith.cli.top import quantities
from faith.translation.typography import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from faith.daemon.observe.status_report import Daemon

_GAP = "  "


class Table(NamedTuple):
    """A table: *rows* below a *heading*; a text *instead* where there are none.

    The columns whose numbers are in *right* are aligned there.
    """

    heading: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    instead: str
    right: frozenset[int] = frozenset()

    def lines(self) -> Iterator[str]:
        """Return the lines, each column as wide as its longest cell."""
        if not self.rows:
            yield self.instead
            return
        cells = [self.heading, *(tuple(map(printable, row)) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for row in cells:
            yield _GAP.join(
                cell.rjust(width) if number in self.right else cell.ljust(width)
                for number, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()


def workers(daemon: Daemon) -> list[Table]:
    """Return the processes of *daemon*."""
    rows = [
        (
            one.role,
            str(one.pid),
            one.state,
            f"{one.open:,}",
            f"{one.begun:,}",
            str(one.restarts),
            f"{one.heard:.1f}s",
        )
        for one in daemon.processes
    ]
    heading = "PROCESS", "PID", "STATE", "OPEN", "BEGUN", "RESTARTS", "HEARD"
    return [Table(heading, rows, "no process is listed by this faithd", frozenset({1, 3, 4, 5, 6}))]


def names(daemon: Daemon) -> list[Table]:
    """Return the numbers of the name service, and its servers."""
    found = daemon.names
    if found is None:
        return [Table((), [], "this faithd answers no names (no [dns] in its configuration)")]
    counts = [
        ("asked", f"{found.queries:,}", ""),
        ("answered at once", f"{found.at_once:,}", _part(found.at_once, found.queries)),
        ("looked up", f"{found.looked_up:,}", _part(found.looked_up, found.queries)),
        ("answered stale", f"{found.stale:,}", _part(found.stale, found.queries)),
        ("failed", f"{found.failed:,}", _part(found.failed, found.queries)),
        ("AAAA synthesised", f"{found.synthesised:,}", ""),
    ]
    servers = [
        (one.address, "answers" if one.healthy else "fails", one.error) for one in found.servers
    ]
    return [
        Table(("QUERIES", "", ""), counts, "", frozenset({1, 2})),
        Table(("SERVER", "STATE", "LAST ERROR"), servers, "it asks no server"),
    ]


def proxies(daemon: Daemon) -> list[Table]:
    """Return the proxies of *daemon*, and what all their clients ask for and are refused."""
    if not daemon.proxies:
        return [Table((), [], "this faithd has no proxy (no [[proxy]] in its configuration)")]
    served = [
        (
            one.listen,
            "TLS" if one.tls else "",
            " ".join(one.methods),
            ", ".join(one.clients) or "on the links",
            f"{one.users:,}" if one.users else "",
        )
        for one in daemon.proxies
    ]
    heading = "LISTENS AT", "", "METHODS", "CLIENTS", "USERS"
    tables = [Table(heading, served, "", frozenset({4}))]
    if found := daemon.proxied:
        counts = [
            ("open sessions", f"{found.open:,}"),
            ("that send datagrams", f"{found.associations:,}"),
            *((f"asked by {method}", f"{number:,}") for method, number in found.asked.items()),
            *((f"refused: {why}", f"{number:,}") for why, number in found.refusals.items()),
        ]
        tables.append(Table(("CLIENTS OF ALL", ""), counts, "", frozenset({1})))
    return tables


def limits(daemon: Daemon) -> list[Table]:
    """Return how much of each limit is used, and what went by each path."""
    uses = [
        (
            one.name,
            one.process,
            f"{one.used:,}",
            _limit(one.limit),
            _part(one.used, one.limit or 0),
        )
        for one in daemon.uses
    ]
    traffic = [
        (
            one.path,
            f"{one.open:,}",
            f"{one.begun:,}",
            quantities.octets(one.octets_to_server),
            quantities.octets(one.octets_to_client),
            f"{sum(one.refusals.values()):,}",
        )
        for one in daemon.traffic
    ]
    limited = "LIMIT", "PROCESS", "USED", "OF", ""
    moved = "PATH", "OPEN", "BEGUN", "SENT", "RCVD", "REFUSED"
    return [
        Table(limited, uses, "no limit is listed", frozenset({2, 3, 4})),
        Table(moved, traffic, "no path is listed", frozenset({1, 2, 3, 4, 5})),
    ]


def findings(daemon: Daemon) -> list[Table]:
    """Return what is amiss with *daemon*, its obstacles to readiness first."""
    rows = [("not ready", text, "") for text in daemon.obstacles]
    rows += [(one.severity, one.text, one.action) for one in daemon.findings]
    return [Table(("SEVERITY", "FINDING", "WHAT TO DO"), rows, "nothing is amiss")]


def summary(daemon: Daemon) -> str:
    """Return one line about *daemon*, as ``http (pid 4711), ready, program 2, up 3h12m``."""
    state = "draining" if daemon.draining else "lame duck" if daemon.lame_duck else "ready"
    if state == "ready" and not daemon.ready:
        state = "not ready"
    program = f", program {daemon.programs}" if daemon.programs > 1 else ""
    version = f" {daemon.version}" if daemon.version else ""
    return f"faithd{version} {daemon.service}, pid {daemon.pid}, {state}{program}"


def changes(before: Daemon | None, after: Daemon | None) -> Iterator[str]:
    """Return what happened to a daemon and its processes between two readings, a sentence each."""
    if before is None or after is None:
        return
    if before.pid != after.pid or (
        before.started != after.started and not _upgraded(before, after)
    ):
        yield f"faithd was started again: pid {before.pid} is now pid {after.pid}"
        return
    if _upgraded(before, after):
        yield f"faithd was upgraded to program {after.programs}"
        return
    restarts = {one.role: one.restarts for one in before.processes}
    for one in after.processes:
        if one.restarts > restarts.get(one.role, one.restarts):
            yield f"{one.role} was replaced: it is pid {one.pid} now"


PANES: dict[str, Callable[[Daemon], Sequence[Table]]] = {
    "Workers": workers,
    "Names": names,
    "Limits": limits,
    "Findings": findings,
    "Proxies": proxies,
}
"""The panes by their titles."""


def _upgraded(before: Daemon, after: Daemon) -> bool:
    return before.pid == after.pid and after.programs > before.programs


def _limit(limit: int | None) -> str:
    return "no limit" if limit is None else f"{limit:,}"


def _part(number: int, of: int) -> str:
    return f"{100 * number / of:.0f}%" if of else ""

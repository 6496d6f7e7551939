"""Counters of one process that answers for names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.kernel.shared.families import Family, Layout

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.kernel.shared.families import Cells

QUERIES = Family(
    "faith_dns_queries",
    "Queries that came.",
    label="transport",
    values=("udp", "tcp"),
)
ANSWERS = Family(
    "faith_dns_answers",
    "Queries that were answered at once, from the cache or by a refusal; after a look-up; with what"
    " was past its time; and with SERVFAIL.",
    label="how",
    values=("at once", "looked up", "stale", "failed"),
)
SYNTHESISED = Family("faith_dns_synthesised", "AAAA answers made of A records.")
UPSTREAM = Family(
    "faith_dns_upstream",
    "Questions to servers, by what came of them: an answer, no answer in time, or an error.",
    label="result",
    values=("answer", "timeout", "error"),
)
REFUSED = Family(
    "faith_dns_refused",
    "What clients were refused that had their share of it: look-ups, connections and addresses of"
    " the pool; and queries that were our own and came back.",
    label="reason",
    values=("look-ups", "streams", "leases", "loops"),
)
LAYOUT = Layout(QUERIES, ANSWERS, SYNTHESISED, UPSTREAM, REFUSED)

_UDP, _TCP = LAYOUT.cells(QUERIES).values()
_ANSWERS = LAYOUT.cells(ANSWERS)
_SYNTHESISED = LAYOUT.start(SYNTHESISED)
_UPSTREAM = LAYOUT.cells(UPSTREAM)
_REFUSED = LAYOUT.cells(REFUSED)


class Counters:
    """Counts in *cells*, which are the caller's, of `LAYOUT`, or else nobody's."""

    def __init__(self, cells: Cells | None = None) -> None:
        self._cells = [0] * LAYOUT.size if cells is None else cells
        self.fills: dict[str, Callable[[], tuple[int, int]]] = {}
        """The tables of the process by name; each returns places taken and places in all."""
        self.servers: Callable[[], list[tuple[str, str]]] = list
        """Returns the servers that are asked, each with its error, or "" if it answers."""

    def datagrams(self, queries: int, at_once: int) -> None:
        """So many came, of which so many were answered at once."""
        self._cells[_UDP] += queries
        self._cells[_ANSWERS["at once"]] += at_once

    def stream(self, *, at_once: bool) -> None:
        """A query came by TCP."""
        self._cells[_TCP] += 1
        self._cells[_ANSWERS["at once"]] += at_once

    def answered(self, how: str) -> None:
        """A query that was not answered at once was answered after all."""
        self._cells[_ANSWERS[how]] += 1

    def synthesised(self) -> None:
        """An answer was made of A records."""
        self._cells[_SYNTHESISED] += 1

    def asked(self, result: str) -> None:
        """A server was asked."""
        self._cells[_UPSTREAM[result]] += 1

    def refused(self, what: str) -> None:
        """A client was refused *what* it had its share of, or a look-up of its own gave way."""
        self._cells[_REFUSED[what]] += 1

"""A request to proxies, and in which way and why others answer it differently than FAITH."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.peers.proxy_talk import Talk

SQUID, TINYPROXY, HAPROXY, DANTE = "squid", "tinyproxy", "HAProxy", "Dante"


@dataclass(frozen=True)
class Case:
    """A request: *say* says it and returns the answer in words, which is *faith* from FAITH.

    *settled* is the section that settles what is right.  It is said to the proxy that wants a
    password if *locked*.
    """

    name: str
    say: Callable[[Talk], str]
    faith: str
    settled: str
    locked: bool = False


@dataclass(frozen=True)
class Difference:
    """Answers of a *peer*, by the names of cases, and the *reason* for which FAITH's are others."""

    peer: str
    reason: str
    answers: Mapping[str, str]


@dataclass(frozen=True)
class Group:
    """Requests of one protocol, and the *peers* that know it.

    They answer as FAITH does but for the *differences*.
    """

    title: str
    peers: tuple[str, ...]
    cases: tuple[Case, ...]
    differences: tuple[Difference, ...] = ()

    def difference(self, case: Case, peer: str) -> Difference | None:
        """Return the difference that *peer* makes in *case*."""
        for difference in self.differences:
            if difference.peer == peer and case.name in difference.answers:
                return difference
        return None

    def answer(self, case: Case, peer: str) -> str:
        """Return what *peer* answers in *case*."""
        difference = self.difference(case, peer)
        return difference.answers[case.name] if difference else case.faith

    def table(self) -> str:
        """Return all answers as a simple table of reStructuredText, with the reasons below it."""
        rows = [["asked", "FAITH", *self.peers, "settled by"]]
        for case in self.cases:
            peers = (self._cell(case, peer) for peer in self.peers)
            rows.append([case.name, case.faith, *peers, case.settled])
        return f"{_simple_table(rows)}\n\n{''.join(self._reasons())}"

    def _cell(self, case: Case, peer: str) -> str:
        difference = self.difference(case, peer)
        if not difference:
            return case.faith
        return f"{difference.answers[case.name]} ({self.differences.index(difference) + 1})"

    def _reasons(self) -> Iterator[str]:
        for number, difference in enumerate(self.differences, 1):
            text = f"{difference.peer}: {difference.reason}"
            yield "\n".join(
                wrap(
                    text,
                    116,
                    initial_indent=f"{number}. ",
                    subsequent_indent=" " * len(f"{number}. "),
                )
            )
            yield "\n"


def _simple_table(rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    head, *body = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join([rule, head, rule, *body, rule])

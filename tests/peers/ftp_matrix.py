"""The cells of the matrix of FTP clients, modes and servers, and the table of them.

``pytest -p tests.peers.ftp_matrix`` prints that table of what it saw through the relay.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from tests.peers.ftp_clients import CLIENTS, EPRT, EPSV, FTPS, MODES, PASV, Client
from tests.peers.ftp_servers import SERVERS, Server

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

RELAYED = "test_relayed"
"""The test that is printed."""

WHOLE, SPLIT, FAILED, NOT_RUN = "whole", "split", "FAILED", "not run"


@dataclass(frozen=True)
class Cell:
    """A client that visits a server in a mode."""

    client: Client
    mode: str
    server: Server

    @property
    def id(self) -> str:
        return f"{self.client.name}-{self.mode}-{self.server.name}".replace(" ", "-")

    @property
    def impossible(self) -> str:
        """Why there is no such visit; "" if there is."""
        if self.mode in self.client.without:
            return self.client.without[self.mode]
        if self.mode == FTPS and not self.server.tls:
            return f"{self.server.name} has no AUTH TLS"
        return ""

    @property
    def often(self) -> bool:
        """Whether it is one of `OFTEN`."""
        return (self.client.name, self.mode, self.server.name) in OFTEN

    @property
    def split(self) -> bool:
        """Whether each octet of the client's commands leaves it in a segment of its own."""
        places = CLIENTS.index(self.client), MODES.index(self.mode), SERVERS.index(self.server)
        return sum(places) % 2 == 1

    @property
    def passed(self) -> str:
        """What stands in the table when the visit went well."""
        return SPLIT if self.split else WHOLE


OFTEN = frozenset(
    {
        ("curl", FTPS, "pure-ftpd"),
        ("lftp", FTPS, "vsftpd"),
        ("lftp", EPRT, "proftpd"),
        ("tnftp", PASV, "inetutils-ftpd"),
        ("wget", EPSV, "pure-ftpd"),
        ("ftplib", EPRT, "pyftpdlib"),
    }
)
"""Some of everything, for every run of the tests; the others are for `scripts/ftp-matrix`."""

CELLS = [Cell(*place) for place in product(CLIENTS, MODES, SERVERS)]
POSSIBLE = sorted(
    (cell for cell in CELLS if not cell.impossible), key=lambda cell: SERVERS.index(cell.server)
)
"""Those of one server behind one another: it is started once."""


def table(outcome: Callable[[Cell], str]) -> str:
    """The matrix as a simple table of reStructuredText, with the reasons of its gaps."""
    reasons = list(dict.fromkeys(cell.impossible for cell in CELLS if cell.impossible))
    letters = dict(zip(reasons, "abcdefgh", strict=False))

    def text(cell: Cell) -> str:
        return f"no ({letters[cell.impossible]})" if cell.impossible else outcome(cell)

    rows = [["client", "mode", *(server.name for server in SERVERS)]]
    for client, mode in product(CLIENTS, MODES):
        cells = (Cell(client, mode, server) for server in SERVERS)
        rows.append([client.name, mode, *map(text, cells)])
    gaps = "\n".join(f"{letter}. {reason}" for reason, letter in letters.items())
    return f"{_simple_table(rows)}\n\n{gaps}\n"


def _simple_table(rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    head, *body = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join([rule, head, rule, *body, rule])


# -- as a plugin of pytest -----------------------------------------------------------------------

_outcomes: dict[str, str] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    found = re.search(rf"::{RELAYED}\[(.+)\]$", report.nodeid)
    if found and (report.when == "call" or not report.passed):
        _outcomes[found[1]] = report.outcome


def _seen(cell: Cell) -> str:
    outcome = _outcomes.get(cell.id, "skipped")
    return {"passed": cell.passed, "failed": FAILED, "skipped": NOT_RUN}[outcome]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.section("FTP through the relay")
    terminalreporter.write(table(_seen))

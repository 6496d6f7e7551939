"""The columns of the list of sessions, as many as there is room for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from faith.cli.top import quantities

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from faith.cli.top.rates import Row

GAP = 2
"""Spaces between two columns."""
_NARROWEST = 9
"""Characters of an address that is cut, when there is room for nothing else."""


class Column(NamedTuple):
    """A column: its *title*, the text of a row's *cell*, and what it is sorted by.

    *rank*: columns of a higher one are left out first.
    """

    title: str
    cell: Callable[[Row], str]
    sort: str
    rank: int
    is_number: bool = True


COLUMNS = (
    Column("CLIENT", lambda row: row.client, "client", 0, is_number=False),
    Column("SERVER", lambda row: row.server, "server", 1, is_number=False),
    Column("ASKED", lambda row: row.asked, "asked", 3, is_number=False),
    Column("SENT/S", lambda row: quantities.rate(row.sent_rate), "sent/s", 2),
    Column("RCVD/S", lambda row: quantities.rate(row.received_rate), "received/s", 2),
    Column("AGE", lambda row: quantities.duration(row.seconds), "seconds", 4),
    Column("SENT", lambda row: quantities.octets(row.sent), "sent", 5),
    Column("RCVD", lambda row: quantities.octets(row.received), "received", 5),
    Column("STAGE", lambda row: row.stage, "stage", 6, is_number=False),
    Column("SOURCE", lambda row: row.source, "source", 7, is_number=False),
    Column("ID", lambda row: row.id, "id", 8, is_number=False),
)
_ASKED = COLUMNS[2]
SESSIONS = Column("SESSIONS", lambda row: f"{row.sessions:,}", "sessions", 3)
"""The column that groups have instead of ids."""

Fitted = list[tuple[Column, int]]
"""Columns with their widths, from left to right."""


def fitted(
    rows: Iterable[Row], width: int, *, groups: bool = False, before: Fitted | None = None
) -> Fitted:
    """Return the columns that fit into *width* characters, as wide as the cells of *rows* need.

    They are not narrower than *before*, so that they stay where they are while rows change.  What
    clients have asked for has a column once one has.
    """
    rows = list(rows)
    columns = [*COLUMNS[:-1], SESSIONS] if groups else list(COLUMNS)
    if not any(row.asked for row in rows) and _ASKED not in [one for one, _ in before or ()]:
        columns.remove(_ASKED)
    needed = {column.title: len(column.title) + 1 for column in columns}  # and the arrow
    needed |= {column.title: least for column, least in before or ()}
    for row in rows:
        for column in columns:
            needed[column.title] = max(needed[column.title], len(column.cell(row)))
    while len(columns) > 2 and _total(columns, needed) > width:
        rank = max(column.rank for column in columns)
        columns = [column for column in columns if column.rank != rank]
    _narrow(columns[:2], needed, _total(columns, needed) - width)
    return [(column, needed[column.title]) for column in columns]


def _total(columns: Sequence[Column], needed: dict[str, int]) -> int:
    return sum(needed[column.title] + GAP for column in columns) - GAP


def _narrow(columns: Sequence[Column], needed: dict[str, int], excess: int) -> None:
    """Take *excess* characters from the widest of *columns*, which keep `_NARROWEST`."""
    for _ in range(max(0, excess)):
        title = max((column.title for column in columns), key=needed.__getitem__)
        if needed[title] <= _NARROWEST:
            return
        needed[title] -= 1


def heading(columns: Fitted, sort: str, *, ascending: bool) -> str:
    """Return the titles; those of the columns that rows are sorted by have an arrow."""
    arrow = "↑" if ascending else "↓"
    sorts = ("sent/s", "received/s") if sort == "rate" else (sort,)
    return _joined([(one.title + arrow * (one.sort in sorts), one, n) for one, n in columns])


def line(row: Row, columns: Fitted) -> str:
    """Return the cells of *row*."""
    return _joined([(column.cell(row), column, width) for column, width in columns])


def _joined(cells: Iterable[tuple[str, Column, int]]) -> str:
    return (" " * GAP).join(
        text.rjust(width) if column.is_number else _cut(text, width).ljust(width)
        for text, column, width in cells
    )


def _cut(text: str, width: int) -> str:
    """Return *text*, or its beginning and its end around an ellipsis, which say most."""
    if len(text) <= width:
        return text
    end = (width - 1) // 2
    return f"{text[: width - 1 - end]}…{text[len(text) - end :]}"

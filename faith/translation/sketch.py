"""Counts and rates by key, for any number of keys in a fixed number of cells, across processes.

A client chooses among 2^64 addresses, so a table of clients must not grow with them.  Here a key
has one cell in each of two rows, chosen by a keyed hash, and its number is the smaller of the two
cells: never too low, and too high only as far as other keys share *both* cells (a count-min
sketch).  Each process writes a table of its own; a number is the sum over all tables.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableSequence, Sequence

    Counts = MutableSequence[int] | memoryview[int]
    Stamped = MutableSequence[float] | memoryview[float]
    Cells = tuple[int, ...]
    """The cells of a key: one in each row."""

ROWS = 2
WIDTH = 1 << 16
"""Cells of a row."""

ALL: Cells = (0,)
"""The cell of the total over all keys, which no key shares."""

COUNTS = 1 + ROWS * WIDTH
"""Length of a table of `Presence`."""
STAMPED = 2 * COUNTS
"""Length of a table of `Pace`."""


def cells_of(key: bytes) -> Cells:
    """Return the cells of *key*, which differ from one start of the daemon to the next."""
    # Python keys the hash of bytes with a secret, drawn at start-up and shared after a fork.
    number = hash(key)
    return 1 + number % WIDTH, 1 + WIDTH + (number >> 32) % WIDTH


class Presence:
    """The number of things present by key; *mine* is the index of this process's table."""

    def __init__(self, tables: Sequence[Counts], mine: int) -> None:
        self._tables = tables
        self._mine = tables[mine]

    def reaches(self, cells: Cells, most: float) -> bool:
        """Return whether at least *most* are present, over all processes."""
        for cell in cells:
            count = 0
            for table in self._tables:
                count += table[cell]
            if count < most:  # the smallest of the rows counts
                return False
        return True

    def change(self, cells: Cells, by: int) -> None:
        """Add *by*, which may be negative, to a key's number."""
        mine = self._mine
        for cell in cells:
            mine[cell] += by


class Pace:
    """The recent rate of events by key: a leaky bucket that each event fills by one.

    It leaks the faster the fuller it is: of *n* events ``n / e`` are left after *seconds*.  If
    events are admitted while it holds fewer than ``rate * seconds``, that many may come in one
    burst, and *rate* a second in the long run.  Such buckets, unlike linear ones, can be added up.
    """

    def __init__(self, tables: Sequence[Stamped], mine: int, seconds: float) -> None:
        self._tables = tables
        self._mine = tables[mine]
        self._leak: float = 2.718281828459045 ** (-1 / seconds)

    def exceeds(self, cells: Cells, most: float, now: float) -> bool:
        """Return whether the bucket holds more than *most* at *now* (seconds), over all
        processes."""
        for cell in cells:
            level = 0.0
            for table in self._tables:
                if table[2 * cell]:
                    level += self._left(table, 2 * cell, now)
            if level <= most:
                return False
        return True

    def add(self, cells: Cells, now: float) -> None:
        """Count one event at *now*, in seconds."""
        mine = self._mine
        for cell in cells:
            mine[2 * cell] = self._left(mine, 2 * cell, now) + 1
            mine[2 * cell + 1] = now

    def _left(self, table: Stamped, level: int, now: float) -> float:
        """Return what is left of the cell *level* at *now*; its time stamp is in the cell behind
        it."""
        # The clock of another process may be a little ahead.
        left: float = table[level] * self._leak ** max(0.0, now - table[level + 1])
        return left

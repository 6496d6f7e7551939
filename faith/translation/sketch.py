"""Numbers by key, for any number of keys in a fixed number of cells, kept by several processes.

A client chooses among 2^64 addresses, so a table of clients must not grow with them.  Here a key
has one cell in each of two rows, chosen by a hash that nobody outside can foresee, and its number
is the smaller of the two cells: never too low, and too high only as far as others share *both*
(a count-min sketch).  Each process writes a table of its own; a number is the sum over all tables.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableSequence, Sequence

    Counts = MutableSequence[int] | memoryview[int]
    Stamped = MutableSequence[float] | memoryview[float]
    Cells = tuple[int, ...]
    """Where a key is counted: one cell in each row."""

ROWS = 2
WIDTH = 1 << 16
"""Cells of a row."""

ALL: Cells = (0,)
"""The cells of what is counted for everybody together: nobody else's."""

COUNTS = 1 + ROWS * WIDTH
"""Length of a table of `Presence`."""
STAMPED = 2 * COUNTS
"""Length of a table of `Pace`."""


def cells_of(key: bytes) -> Cells:
    """The cells of *key*; they are others in the next life of the program."""
    # Python keys the hash of bytes with a secret, drawn at the start and shared after a fork.
    number = hash(key)
    return 1 + number % WIDTH, 1 + WIDTH + (number >> 32) % WIDTH


class Presence:
    """How many there are of each key; *mine* is the number of this process's table."""

    def __init__(self, tables: Sequence[Counts], mine: int) -> None:
        self._tables = tables
        self._mine = tables[mine]

    def reaches(self, cells: Cells, most: float) -> bool:
        """Whether there are at least so many, by all processes."""
        for cell in cells:
            count = 0
            for table in self._tables:
                count += table[cell]
            if count < most:  # and the smallest of the rows counts
                return False
        return True

    def change(self, cells: Cells, by: int) -> None:
        """So many more, or less."""
        mine = self._mine
        for cell in cells:
            mine[cell] += by


class Pace:
    """How often something happened lately, by key: a bucket that each event fills by one.

    It leaks the faster the fuller it is: of *n* there is ``n / e`` left after *seconds*.  Where
    events are let in while it holds fewer than ``rate * seconds``, that many may come at once, and
    *rate* a second for ever.  Such buckets, unlike others, can be added up.
    """

    def __init__(self, tables: Sequence[Stamped], mine: int, seconds: float) -> None:
        self._tables = tables
        self._mine = tables[mine]
        self._leak: float = 2.718281828459045 ** (-1 / seconds)

    def exceeds(self, cells: Cells, most: float, now: float) -> bool:
        """Whether the bucket holds more *now*, by all processes."""
        for cell in cells:
            level = 0.0
            for table in self._tables:
                if table[2 * cell]:
                    level += self._left(table, 2 * cell, now)
            if level <= most:
                return False
        return True

    def add(self, cells: Cells, now: float) -> None:
        """It has happened once more."""
        mine = self._mine
        for cell in cells:
            mine[2 * cell] = self._left(mine, 2 * cell, now) + 1
            mine[2 * cell + 1] = now

    def _left(self, table: Stamped, level: int, now: float) -> float:
        """What has not leaked of a level; the time it is of stands behind it."""
        # Another process may have a clock that is a little ahead.
        left: float = table[level] * self._leak ** max(0.0, now - table[level + 1])
        return left

"""The numbers of a process about itself, as it writes them with a heartbeat."""

from __future__ import annotations

import os
import time

from faith.daemon.observe import own_numbers
from faith.daemon.observe.own_numbers import (
    HEARD,
    LAYOUT,
    MEMORY,
    NO_LIMIT,
    PID,
    PLACES,
    PRESENT,
    STARTED,
    TABLES,
    TAKEN,
    OwnNumbers,
    own,
    write_in,
)


def cells() -> list[int]:
    return [0] * LAYOUT.size


def test_a_process_that_begins_replaces_the_numbers_of_its_predecessor() -> None:
    written = cells()
    for cell in LAYOUT.cells(PRESENT).values():
        written[cell] = 1
    before = time.time()
    write_in(written)
    assert written[LAYOUT.start(PID)] == os.getpid()
    assert before <= written[LAYOUT.start(STARTED)] / 1e6 + 1e-6 <= time.time() + 1e-6
    assert written[LAYOUT.start(MEMORY)] > 0
    assert not any(LAYOUT.of(PRESENT, written))


def test_every_heartbeat_writes_its_time_and_the_tables() -> None:
    written = cells()
    numbers = OwnNumbers(written)
    table = [3, 8]
    numbers.fills["streams"] = lambda: (table[0], table[1])
    numbers.fills["udp flows"] = lambda: (5, NO_LIMIT)
    called: list[str] = []
    numbers.also(lambda: called.append("noted"))
    before = time.monotonic()
    numbers.note()
    table[0] = 4
    numbers.note()
    assert written[LAYOUT.start(HEARD)] / 1e6 >= before - 1e-6
    taken, places = LAYOUT.cells(TAKEN), LAYOUT.cells(PLACES)
    assert (written[taken["streams"]], written[places["streams"]]) == (4, 8)
    assert (written[taken["udp flows"]], written[places["udp flows"]]) == (5, 0)
    present = dict(zip(TABLES, LAYOUT.of(PRESENT, written), strict=True))
    assert [table for table in TABLES if present[table]] == ["udp flows", "streams"]
    assert called == ["noted", "noted"]


def test_there_is_one_writer_in_a_process() -> None:
    first, second = cells(), cells()
    write_in(first)
    write_in(second)
    own().fills["streams"] = lambda: (1, 2)
    own().note()
    assert sum(LAYOUT.of(TAKEN, first)) == 0
    assert sum(LAYOUT.of(TAKEN, second)) == 1


def test_names_of_tables_that_are_shared_out_are_names_of_tables() -> None:
    assert set(TABLES) > own_numbers.SHARED_OUT

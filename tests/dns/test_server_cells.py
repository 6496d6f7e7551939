"""Servers as text in shared memory: what is written is read, and nothing half-written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.dns.server_cells import LAYOUT, LONGEST, SERVERS, ServerCells, read


def written(servers: list[tuple[str, str]]) -> list[int]:
    cells = [0] * LAYOUT.size
    ServerCells(cells).write(servers)
    return cells


def test_servers_and_their_errors_are_read_as_written() -> None:
    servers = [("192.0.2.53:53", ""), ("tls://[2001:db8::53]:853#dns.example", "no answer — ö")]
    assert read(written(servers)) == servers
    assert read([0] * LAYOUT.size) == []


def test_fewer_servers_leave_nothing_of_the_others() -> None:
    cells = [0] * LAYOUT.size
    writer = ServerCells(cells)
    writer.write([("192.0.2.1:53", "a long reason"), ("192.0.2.2:53", "")])
    writer.write([("192.0.2.3:53", "")])
    assert read(cells) == [("192.0.2.3:53", "")]


def test_only_the_first_are_reported() -> None:
    servers = [(f"192.0.2.{number}:53", "") for number in range(SERVERS + 3)]
    assert read(written(servers)) == servers[:SERVERS]


def test_long_text_is_cut() -> None:
    ((server, error),) = read(written([("192.0.2.1:53", "x" * 1000)]))
    assert server == "192.0.2.1:53"
    assert len(server) + 1 + len(error) == LONGEST


def test_nothing_is_read_during_a_write() -> None:
    cells = written([("192.0.2.1:53", "")])
    cells[0] |= 1
    assert read(cells) == []


def test_the_cells_are_left_alone_while_nothing_changes() -> None:
    cells = [0] * LAYOUT.size
    writer = ServerCells(cells)
    writer.write([("192.0.2.1:53", "")])
    before = list(cells)
    writer.write([("192.0.2.1:53", "")])
    assert cells == before
    writer.write([("192.0.2.1:53", "no answer")])
    assert cells[0] == before[0] + 2


@given(st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=LAYOUT.size, max_size=LAYOUT.size))
def test_whatever_a_process_wrote_is_read_as_printable_text(cells: list[int]) -> None:
    for server, error in read(cells):
        assert (server + error).isprintable()


@pytest.mark.parametrize("cell", [-1, 1 << 62])
def test_numbers_out_of_range_do_no_harm(cell: int) -> None:
    cells = [cell] * LAYOUT.size
    cells[0] = 0
    assert len(read(cells)) <= SERVERS

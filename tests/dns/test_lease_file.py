"""Leases in a file."""

from __future__ import annotations

import os
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from faith.dns.lease_file import Book
from faith.dns.pool import FORM, GRACE
from faith.errors import ConfigError, SetupError

if TYPE_CHECKING:
    from pathlib import Path

NETWORKS = [(int(ip_address("198.18.0.0")), 29), (int(ip_address("198.18.1.0")), 30)]
FIRST = NETWORKS[0][0] + 1
SIZE = 8
SERVERS = [int(ip_address(f"2001:db8::{number:x}")) for number in range(1, 20)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "pool"


def lines(path: Path) -> list[str]:
    """What the file says, without what fills it up."""
    return [line.rstrip() for line in path.read_text().splitlines() if line.strip()]


def test_a_lease_is_in_the_file_before_anybody_is_told(path: Path) -> None:
    pool = Book(path, NETWORKS).pool(now=1000)
    assert lines(path) == [FORM]
    pool.lend(SERVERS[0], 60, now=1000)
    assert lines(path) == [FORM, "198.18.0.1 2001:db8::1 180.000"]
    pool.lend(SERVERS[0], 60, now=1500)
    pool.lend(SERVERS[1], 1, now=1500)
    assert lines(path) == [
        FORM,
        "198.18.0.1 2001:db8::1 180.000",
        "198.18.0.2 2001:db8::2 121.000",
    ]


def test_the_file_does_not_grow(path: Path) -> None:
    pool = Book(path, NETWORKS).pool(now=0)
    size = path.stat().st_size
    for server in SERVERS[:SIZE]:
        assert pool.lend(server, 60, now=0)
    for server in SERVERS[SIZE : 2 * SIZE]:
        assert pool.lend(server, 60, now=1000)
        assert len(lines(path)) == 1 + SIZE
    assert path.stat().st_size == size


def test_who_is_killed_leaves_every_lease(path: Path) -> None:
    book = Book(path, NETWORKS)
    pool = book.pool(now=0)
    lent = {server: pool.lend(server, 60, now=0) for server in SERVERS[:SIZE]}
    again = book.pool(now=5000)
    for server, lease in lent.items():
        assert lease
        found = again.find(lease.v4)
        assert found
        assert found.v6 == server
    assert again.lend(SERVERS[SIZE], 60, now=5000 + 60 + GRACE - 1) is None
    assert again.lend(SERVERS[SIZE], 60, now=5000 + 60 + GRACE)


def test_who_ends_leaves_the_time_that_is_left(path: Path) -> None:
    book = Book(path, NETWORKS)
    pool = book.pool(now=0)
    for server in SERVERS[:SIZE]:
        pool.lend(server, 60, now=server - SERVERS[0])
    book.save(pool, now=100)
    book.close()
    again = Book(path, NETWORKS).pool(now=0)
    assert again.lend(SERVERS[SIZE], 60, now=60 + GRACE - 101) is None
    lease = again.lend(SERVERS[SIZE], 60, now=60 + GRACE - 100)
    assert lease
    assert lease.v4 == FIRST


def test_other_networks_take_over_what_they_share(path: Path) -> None:
    book = Book(path, NETWORKS)
    pool = book.pool(now=0)
    for server in SERVERS[:SIZE]:
        pool.lend(server, 60, now=0)
    book.close()
    Book(path, NETWORKS[1:])
    assert lines(path) == [
        FORM,
        "198.18.1.1 2001:db8::7 180.000",
        "198.18.1.2 2001:db8::8 180.000",
    ]


def test_there_is_one_owner(path: Path) -> None:
    book = Book(path, NETWORKS)
    with pytest.raises(SetupError, match="another process lends by it"):
        Book(path, NETWORKS)
    book.close()
    Book(path, NETWORKS)


def test_a_file_of_something_else_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("root:x:0:0\n")
    with pytest.raises(ConfigError, match=r"pool: leases begin with 'root:x:0:0'"):
        Book(path, NETWORKS)
    assert path.read_text() == "root:x:0:0\n"


def test_a_place_where_no_file_can_be(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="Is a directory"):
        Book(tmp_path, NETWORKS)
    assert os.listdir(tmp_path) == []

"""Leases in a file."""

from __future__ import annotations

import os
import resource
from contextlib import contextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from faith.dns.lease_file import LeaseFile
from faith.dns.pool import FORM, GRACE
from faith.errors import ConfigError, SetupError
from faith.kernel.shared.leases import Leases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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
    pool = LeaseFile.create(path, NETWORKS).pool(now=1000)
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
    pool = LeaseFile.create(path, NETWORKS).pool(now=0)
    size = path.stat().st_size
    for server in SERVERS[:SIZE]:
        assert pool.lend(server, 60, now=0)
    for server in SERVERS[SIZE : 2 * SIZE]:
        assert pool.lend(server, 60, now=1000)
        assert len(lines(path)) == 1 + SIZE
    assert path.stat().st_size == size


def test_who_is_killed_leaves_every_lease(path: Path) -> None:
    lease_file = LeaseFile.create(path, NETWORKS)
    pool = lease_file.pool(now=0)
    lent = {server: pool.lend(server, 60, now=0) for server in SERVERS[:SIZE]}
    again = lease_file.pool(now=5000)
    for server, lease in lent.items():
        assert lease
        found = again.find(lease.v4)
        assert found
        assert found.v6 == server
    assert again.lend(SERVERS[SIZE], 60, now=5000 + 60 + GRACE - 1) is None
    assert again.lend(SERVERS[SIZE], 60, now=5000 + 60 + GRACE)


def test_who_ends_leaves_the_time_that_is_left(path: Path) -> None:
    lease_file = LeaseFile.create(path, NETWORKS)
    pool = lease_file.pool(now=0)
    for server in SERVERS[:SIZE]:
        pool.lend(server, 60, now=server - SERVERS[0])
    lease_file.save(pool, now=100)
    lease_file.close()
    again = LeaseFile.create(path, NETWORKS).pool(now=0)
    assert again.lend(SERVERS[SIZE], 60, now=60 + GRACE - 101) is None
    lease = again.lend(SERVERS[SIZE], 60, now=60 + GRACE - 100)
    assert lease
    assert lease.v4 == FIRST


def test_other_networks_take_over_what_they_share(path: Path) -> None:
    lease_file = LeaseFile.create(path, NETWORKS)
    pool = lease_file.pool(now=0)
    for server in SERVERS[:SIZE]:
        pool.lend(server, 60, now=0)
    lease_file.close()
    LeaseFile.create(path, NETWORKS[1:])
    assert lines(path) == [
        FORM,
        "198.18.1.1 2001:db8::7 180.000",
        "198.18.1.2 2001:db8::8 180.000",
    ]


def test_there_is_one_owner(path: Path) -> None:
    lease_file = LeaseFile.create(path, NETWORKS)
    with pytest.raises(SetupError, match="another process lends by it"):
        LeaseFile.create(path, NETWORKS)
    lease_file.close()
    LeaseFile.create(path, NETWORKS)


def test_a_file_of_something_else_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("root:x:0:0\n")
    with pytest.raises(ConfigError, match=r"pool: leases begin with 'root:x:0:0'"):
        LeaseFile.create(path, NETWORKS)
    assert path.read_text() == "root:x:0:0\n"


def test_a_place_where_no_file_can_be(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="Is a directory"):
        LeaseFile.create(tmp_path, NETWORKS)
    assert os.listdir(tmp_path) == []


class TestWithheld:
    """Addresses that another host had: it may have lent them."""

    @staticmethod
    def left(path: Path, *addresses: int) -> None:
        """Leave a file with a lease of the first address, in which *addresses* are withheld."""
        lease_file = LeaseFile.create(path, NETWORKS)
        lease_file.pool(now=0).lend(SERVERS[0], 60, now=0)
        lease_file.withhold(addresses, 420)
        lease_file.close()

    def test_nobody_is_led_there_and_nobody_lent_one(
        self, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.left(path, FIRST)
        assert lines(path) == [FORM, "198.18.0.1 ::198.18.0.1 420.000"]
        leases = Leases.create(NETWORKS)
        pool = LeaseFile.create(path, NETWORKS, leases).pool(now=1000)
        assert "another host had addresses of the pool: lent to nobody for 420 s: 1" in caplog.text
        assert leases.use(FIRST) is leases.host(FIRST) is None
        found = [pool.lend(server, 900, now=1000) for server in SERVERS[:SIZE]]
        assert [lease and lease.v4 - FIRST for lease in found[:-1]] == [1, 2, 3, 4, 5, 256, 257]
        assert found[-1] is None
        assert pool.lend(SERVERS[SIZE], 60, now=1419) is None
        lease = pool.lend(SERVERS[SIZE], 60, now=1420)
        assert lease
        assert (lease.v4, leases.use(FIRST)) == (FIRST, SERVERS[SIZE])

    def test_several_of_a_network_are_all_of_it(self, path: Path) -> None:
        self.left(path, FIRST + 1, FIRST + 3, FIRST + 256)
        pool = LeaseFile.create(path, NETWORKS).pool(now=0)
        assert [lease.v4 for lease in pool if lease.is_withheld] == [
            *range(FIRST, FIRST + 6),
            FIRST + 256,
        ]
        lease = pool.lend(SERVERS[0], 60, now=0)
        assert lease
        assert lease.v4 == FIRST + 257

    def test_addresses_of_others_are_no_matter(self, path: Path) -> None:
        self.left(path, FIRST - 1, FIRST + 6)
        assert lines(path) == [FORM, "198.18.0.1 2001:db8::1 180.000"]

    def test_it_ends_with_the_time_that_is_left(
        self, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.left(path, FIRST)
        lease_file = LeaseFile.create(path, NETWORKS)
        lease_file.save(lease_file.pool(now=0), now=500)
        lease_file.close()
        caplog.clear()
        pool = LeaseFile.create(path, NETWORKS).pool(now=0)
        assert not caplog.text
        found = [pool.lend(server, 60, now=0) for server in SERVERS[:SIZE]]
        assert FIRST in {lease.v4 for lease in found if lease}


@contextmanager
def full_disk(octets: int) -> Iterator[None]:
    """A system that lets no file of ours grow beyond so many octets, in the middle of a write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class TestDamage:
    """What happened to the file is no reason to keep anybody from being served."""

    def test_a_lease_that_has_ended_is_one_at_the_next_start_too(self, path: Path) -> None:
        lease_file = LeaseFile.create(path, NETWORKS)
        pool = lease_file.pool(now=0)
        pool.lend(SERVERS[0], 60, now=0)
        lease_file.save(pool, now=1000)
        lease_file.close()
        assert lines(path)[1] == "198.18.0.1 2001:db8::1 -820.000"
        leases = Leases.create(NETWORKS)
        again = LeaseFile.create(path, NETWORKS, leases).pool(now=5)
        found = again.find(FIRST)
        assert found
        assert (found.v6, leases.look(FIRST)) == (SERVERS[0], (SERVERS[0], 0.0))

    @pytest.mark.parametrize(
        "damage",
        [
            lambda text: text[:95],
            lambda text: text[:80] + b"x" * 80 + text[160:],
            lambda text: text[:80] + bytes(80) + text[160:],
            lambda text: text[:100] + bytes(len(text) - 100),
        ],
        ids=["cut short", "overwritten", "a hole", "zeros from the middle on"],
    )
    def test_what_can_be_read_counts(
        self, damage: Callable[[bytes], bytes], path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        pool = LeaseFile.create(path, NETWORKS[1:]).pool(now=0)
        for server in SERVERS[:2]:
            pool.lend(server, 60, now=0)
        text = path.read_bytes()
        other = path.with_name("other")
        other.write_bytes(damage(text))
        found = LeaseFile.create(other, NETWORKS[1:]).pool(now=0)
        assert f"{other}: " in caplog.text
        assert "cannot be read and are left out, of which the first is line 2: " in caplog.text
        assert {lease.v6 for lease in found} <= set(SERVERS[:2])
        assert found.lend(SERVERS[0], 60, now=0)
        assert len(other.read_bytes()) == len(text)

    @pytest.mark.parametrize("text", [b"", bytes(400)])
    def test_a_file_that_was_never_written_is_a_new_one(self, text: bytes, path: Path) -> None:
        path.parent.mkdir()
        path.write_bytes(text)
        assert list(LeaseFile.create(path, NETWORKS).pool(now=0)) == []
        assert lines(path) == [FORM]

    def test_a_full_disk_leaves_the_file_as_it_was(self, path: Path) -> None:
        lease_file = LeaseFile.create(path, NETWORKS[1:])
        lease_file.pool(now=0).lend(SERVERS[0], 60, now=0)
        lease_file.close()
        before = path.read_bytes()
        with full_disk(300), pytest.raises(SetupError, match=f"write {path}: "):
            LeaseFile.create(path, NETWORKS)
        assert path.read_bytes() == before
        assert os.listdir(path.parent) == [path.name]
        LeaseFile.create(path, NETWORKS)

    def test_a_full_disk_is_no_matter_where_there_is_nothing_to_write(self, path: Path) -> None:
        LeaseFile.create(path, NETWORKS).close()
        with full_disk(0):
            LeaseFile.create(path, NETWORKS)

    def test_what_cannot_be_written_is_not_lent(self, path: Path) -> None:
        lease_file = LeaseFile.create(path, NETWORKS)
        pool = lease_file.pool(now=0)
        with full_disk(100), pytest.raises(OSError, match="No space left"):
            pool.lend(SERVERS[0], 60, now=0)
        assert pool.lend(SERVERS[0], 60, now=0)
        assert lines(path)[1] == "198.18.0.1 2001:db8::1 180.000"

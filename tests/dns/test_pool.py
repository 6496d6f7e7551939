"""Addresses lent to servers, for as long as anybody may use them."""

from __future__ import annotations

import errno
from ipaddress import ip_address

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from faith.dns.pool import FORM, GRACE, Lease, Pool
from faith.errors import FaithError

NETWORK = (int(ip_address("198.18.0.0")), 29)
SIZE = 6
SERVERS = [int(ip_address(f"2001:db8::{number:x}")) for number in range(1, 20)]


def pool() -> Pool:
    return Pool([NETWORK])


def meaning(found: Pool, v4: int) -> int | None:
    lease = found.find(v4)
    return lease.v6 if lease else None


def lent(found: Pool, server: int, now: float = 0, seconds: float = 60) -> int:
    lease = found.lend(SERVERS[server], seconds, now)
    assert lease
    return lease.v4


def full(now: float = 0) -> Pool:
    found = pool()
    for server in range(SIZE):
        lent(found, server, now)
    return found


class TestLending:
    def test_every_server_has_an_address_of_its_own(self) -> None:
        found = pool()
        addresses = {str(ip_address(lent(found, server))) for server in range(SIZE)}
        assert addresses == {f"198.18.0.{number}" for number in range(1, 7)}

    def test_and_keeps_it(self) -> None:
        found = pool()
        assert lent(found, 0) == lent(found, 0, now=1000)

    def test_it_means_the_server(self) -> None:
        found = pool()
        assert meaning(found, lent(found, 3)) == SERVERS[3]
        assert meaning(found, NETWORK[0] + 5) is None

    def test_networks_of_one_or_two_addresses_are_used_up(self) -> None:
        found = Pool([(NETWORK[0], 32), (NETWORK[0] + 8, 31)])
        assert [lent(found, server) - NETWORK[0] for server in range(3)] == [0, 8, 9]
        assert found.lend(SERVERS[3], 60, 0) is None


class TestExhaustion:
    def test_it_is_told(self) -> None:
        assert full().lend(SERVERS[SIZE], 60, 0) is None

    def test_who_has_an_address_keeps_it(self) -> None:
        found = full()
        assert lent(found, 2) == NETWORK[0] + 3

    def test_a_lease_outlives_its_record(self) -> None:
        found = full()
        assert found.lend(SERVERS[SIZE], 60, 60 + GRACE - 1) is None
        assert found.lend(SERVERS[SIZE], 60, 60 + GRACE)

    def test_it_is_extended_by_every_record(self) -> None:
        found = full()
        for server in range(SIZE):
            lent(found, server, now=100)
        assert found.lend(SERVERS[SIZE], 60, 60 + GRACE) is None
        assert found.lend(SERVERS[SIZE], 60, 160 + GRACE)

    def test_and_never_shortened(self) -> None:
        found = full()
        for server in range(SIZE):
            lent(found, server, now=10, seconds=1)
        assert found.lend(SERVERS[SIZE], 60, 59 + GRACE) is None

    def test_the_address_whose_lease_ended_first_is_taken(self) -> None:
        found = pool()
        for server, seconds in enumerate((50, 10, 30, 20, 40, 60)):
            lent(found, server, seconds=seconds)
        taken = [lent(found, SIZE + n, now=500) - NETWORK[0] for n in range(3)]
        assert taken == [2, 4, 3]

    def test_also_when_it_was_extended(self) -> None:
        found = full()
        lent(found, 0, now=50)
        lent(found, 1, now=40)
        taken = [lent(found, SIZE + n, now=500) - NETWORK[0] for n in range(SIZE)]
        assert taken == [3, 4, 5, 6, 2, 1]

    def test_what_was_taken_has_another_meaning(self) -> None:
        found = full()
        v4 = lent(found, SIZE, now=1000)
        assert meaning(found, v4) == SERVERS[SIZE]
        assert lent(found, 0, now=1000) != v4

    def test_what_was_not_keeps_its_own(self) -> None:
        found = full()
        v4 = lent(found, SIZE, now=1000)
        others = set(range(NETWORK[0] + 1, NETWORK[0] + 7)) - {v4}
        assert {meaning(found, other) for other in others} == set(SERVERS[1:SIZE])


class Others:
    """What other processes know of a pool's addresses."""

    def __init__(self, pool: Pool) -> None:
        self.known: dict[int, tuple[int, float]] = {}
        self.lend_from(pool)

    def lend_from(self, pool: Pool) -> None:
        pool.known = lambda v4: self.known.get(v4, (0, 0.0))
        pool.told = lambda lease, now: self.put(lease.v4, lease.v6, lease.until)

    def put(self, v4: int, v6: int, until: float) -> None:
        before, end = self.known.get(v4, (v6, 0.0))
        self.known[v4] = v6, max(end, until) if before == v6 else until

    def use(self, v4: int, now: float) -> None:
        self.put(v4, self.known[v4][0], now + GRACE)


class TestOthers:
    def test_what_they_use_is_not_taken(self) -> None:
        found = pool()
        others = Others(found)
        for server in range(SIZE):
            lent(found, server, seconds=10)
        v4 = lent(found, 0, seconds=10)
        others.use(v4, 10_000)
        taken = {lent(found, SIZE + n, now=10_000) for n in range(SIZE - 1)}
        assert v4 not in taken
        assert meaning(found, v4) == SERVERS[0]
        assert found.lend(SERVERS[15], 60, 10_000 + GRACE)

    def test_nor_soon_after(self) -> None:
        found = Pool([(NETWORK[0], 32)])
        others = Others(found)
        v4 = lent(found, 0)
        others.use(v4, 5000)
        others.use(v4, 9000)
        assert found.lend(SERVERS[1], 60, 9000 + GRACE - 1) is None
        assert found.lend(SERVERS[1], 60, 9000 + GRACE)

    def test_what_they_lend_has_their_meaning(self) -> None:
        found = pool()
        others = Others(found)
        others.put(NETWORK[0] + 1, SERVERS[7], 500)
        assert meaning(found, NETWORK[0] + 1) == SERVERS[7]
        assert lent(found, 0) == NETWORK[0] + 2
        assert lent(found, 7) == NETWORK[0] + 1

    def test_what_they_lend_otherwise_is_theirs(self) -> None:
        found = pool()
        others = Others(found)
        v4 = lent(found, 0)
        others.put(v4, SERVERS[7], 500)
        assert lent(found, 0, now=400) != v4
        assert meaning(found, v4) == SERVERS[7]

    def test_two_that_lend_tell_no_two_things_of_an_address(self) -> None:
        one, other = pool(), pool()
        others = Others(one)
        others.lend_from(other)
        for server in range(SIZE):
            assert lent(one if server % 2 else other, server) == NETWORK[0] + 1 + server
        assert one.lend(SERVERS[SIZE], 60, 0) is None
        assert other.lend(SERVERS[SIZE], 60, 0) is None


class TestRestart:
    def test_leases_go_on_where_they_were(self) -> None:
        found = full()
        found = Pool.loads(found.dumps(50), [NETWORK], now=7)
        for server in range(SIZE):
            assert meaning(found, NETWORK[0] + 1 + server) == SERVERS[server]
        assert found.lend(SERVERS[SIZE], 60, 7 + 10 + GRACE - 1) is None
        assert found.lend(SERVERS[SIZE], 60, 7 + 10 + GRACE)

    def test_what_is_used_has_that_much_left(self) -> None:
        found = Pool([(NETWORK[0], 32)])
        others = Others(found)
        others.use(lent(found, 0), 5000)
        found = Pool.loads(found.dumps(5000), [(NETWORK[0], 32)], now=0)
        assert found.lend(SERVERS[1], 60, GRACE - 1) is None
        assert found.lend(SERVERS[1], 60, GRACE)

    def test_those_that_have_ended_keep_their_order(self) -> None:
        found = pool()
        for server, seconds in enumerate((50, 10, 30, 20, 40, 60)):
            lent(found, server, seconds=seconds)
        found = Pool.loads(found.dumps(500), [NETWORK], now=0)
        assert {meaning(found, NETWORK[0] + n) for n in range(1, 7)} == set(SERVERS[:SIZE])
        taken = [lent(found, SIZE + n, now=0) - NETWORK[0] for n in range(SIZE)]
        assert taken == [2, 4, 3, 5, 1, 6]

    def test_addresses_that_the_pool_has_lost_are_forgotten(self) -> None:
        found = Pool.loads(full().dumps(0), [(NETWORK[0] + 100, 30)], now=0)
        assert meaning(found, NETWORK[0] + 1) is None
        assert lent(found, 0) == NETWORK[0] + 101

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[]",
            "faith-pool 2\n",
        ],
    )
    def test_any_other_text_is_refused(self, text: str) -> None:
        with pytest.raises(FaithError, match="leases"):
            Pool.loads(text, [NETWORK], now=0)

    @pytest.mark.parametrize(
        "line",
        [
            "198.18.0.2",
            "198.18.0.2 192.0.2.1 1",
            "198.18.0.2 2001:db8::1 soon",
            "198.18.0.2 2001:db8::1 nan",
            "198.18.0.2 2001:db8::1 1 2",
            "\0\0\0",
        ],
    )
    def test_a_line_that_cannot_be_read_is_left_out(self, line: str) -> None:
        found = Pool.loads(f"{FORM}\n{line}\n198.18.0.3 2001:db8::3 9\n", [NETWORK], now=0)
        assert [lease.v4 - NETWORK[0] for lease in found] == [3]
        (damaged,) = found.damaged
        assert damaged.startswith("line 2: ")

    def test_two_lines_about_the_same_do_not_both_count(self) -> None:
        v4 = ip_address(NETWORK[0] + 1)
        lines = (FORM, f"{v4} 2001:db8::1 9", f"{v4} 2001:db8::2 9", f"{v4 + 1} 2001:db8::1 9", "")
        found = Pool.loads("\n".join(lines), [NETWORK], now=0)
        assert [(lease.v4, lease.v6) for lease in found] == [(NETWORK[0] + 1, SERVERS[0])]

    def test_the_text_is_for_people_too(self) -> None:
        found = pool()
        lent(found, 0)
        lent(found, 9)
        assert found.dumps(30.5).splitlines() == [
            FORM,
            "198.18.0.1 2001:db8::1 149.500",
            "198.18.0.2 2001:db8::a 149.500",
        ]


class TestTelling:
    def test_of_every_lease_that_is_made_or_extended(self) -> None:
        heard: list[tuple[int, float]] = []

        def told(lease: Lease, now: float) -> None:
            heard.append((lease.v4 - NETWORK[0], lease.until - GRACE))

        found = Pool([NETWORK], told)
        lent(found, 0)
        lent(found, 0, now=10)
        lent(found, 0, now=20, seconds=1)
        lent(found, 1, now=20)
        assert heard == [(1, 60), (1, 70), (2, 80)]

    def test_what_cannot_be_told_is_not_lent(self) -> None:
        full = True
        heard = 0

        def told(lease: Lease, now: float) -> None:
            nonlocal heard
            if full:
                raise OSError(errno.ENOSPC, "full")
            heard += 1

        found = Pool([(NETWORK[0], 32)], told)
        for _ in range(3):
            with pytest.raises(OSError, match="full"):
                found.lend(SERVERS[0], 60, 0)
        full = False
        assert lent(found, 0) == NETWORK[0]
        assert heard == 1
        full = True
        with pytest.raises(OSError, match="full"):
            found.lend(SERVERS[0], 60, 10)
        full = False
        assert lent(found, 0, now=10) == NETWORK[0]
        assert heard == 2


class Promises(RuleBasedStateMachine):
    """Whatever happens, what was told stays true for as long as it was told to."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = pool()
        self.others = Others(self.pool)
        self.now = 0.0
        self.promised: dict[int, tuple[int, float]] = {}
        self.open: set[int] = set()

    @rule(server=st.sampled_from(SERVERS), seconds=st.sampled_from([0, 1, 60, 1000]))
    def lend(self, server: int, seconds: int) -> None:
        lease = self.pool.lend(server, seconds, self.now)
        if lease is None:
            assert len(self.kept()) == SIZE
            return
        before, until = self.promised.get(lease.v4, (server, 0.0))
        assert lease.v4 not in self.kept() or before == server
        until = max(until if before == server else 0, self.now + seconds + GRACE)
        self.promised[lease.v4] = server, until

    def kept(self) -> set[int]:
        """The addresses whose meaning must not change now."""
        running = {v4 for v4, (_, until) in self.promised.items() if self.now < until}
        return running | self.open

    @rule(seconds=st.sampled_from([1, 59, 119, 500]))
    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.use()  # as often as that: those who use it are alive
            self.now += 1

    @rule(number=st.integers(1, SIZE))
    def open_session(self, number: int) -> None:
        v4 = NETWORK[0] + number
        if v4 in self.others.known:
            self.open.add(v4)
            self.use()

    @rule(number=st.integers(1, SIZE))
    def close_session(self, number: int) -> None:
        self.use()
        self.open.discard(NETWORK[0] + number)

    def use(self) -> None:
        for v4 in self.open:
            self.others.use(v4, self.now)
            server, until = self.promised[v4]
            self.promised[v4] = server, max(until, self.now + GRACE)

    @rule()
    def restart(self) -> None:
        self.pool = Pool.loads(self.pool.dumps(self.now), [NETWORK], self.now)
        self.others.lend_from(self.pool)

    @invariant()
    def promises_are_kept(self) -> None:
        for v4 in self.kept():
            assert meaning(self.pool, v4) == self.promised[v4][0]

    @invariant()
    def no_two_addresses_mean_the_same(self) -> None:
        meanings = [meaning(self.pool, NETWORK[0] + n) for n in range(1, SIZE + 1)]
        known = [meaning for meaning in meanings if meaning is not None]
        assert len(known) == len(set(known))


TestPromises = Promises.TestCase
TestPromises.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)

from __future__ import annotations

import mmap
import os
import time

from hypothesis import given
from hypothesis import strategies as st

from faith.kernel.shared.leases import GRACE, NOTHING, Leases

NETWORKS = [(0xC6336400, 29), (0xC6336500, 30)]
ADDRESSES = [first + number for first, length in NETWORKS for number in range(1 << 32 - length)]
SERVER, OTHER = 0x20010DB8 << 96 | 80, 0x20010DB8 << 96 | 81


def test_nothing_is_lent_at_first() -> None:
    leases = Leases.create(NETWORKS)
    for v4 in (*ADDRESSES, ADDRESSES[0] - 1, ADDRESSES[-1] + 1):
        assert leases.look(v4) == (0, 0.0)
        assert leases.use(v4) is None


def test_what_one_process_lends_another_finds() -> None:
    leases = Leases.create(NETWORKS)
    pid = os.fork()
    if pid == 0:
        leases.put(ADDRESSES[1], SERVER, 100.0)
        os._exit(0)
    os.waitpid(pid, 0)
    assert leases.look(ADDRESSES[1]) == (SERVER, 100.0)
    assert leases.use(ADDRESSES[1]) == SERVER


def test_the_memory_can_be_left_to_another_program() -> None:
    leases = Leases.create(NETWORKS)
    leases.put(ADDRESSES[-1], SERVER, 100.0)
    other = Leases.adopt(os.dup(leases.state()), NETWORKS)
    leases.close()
    assert other.look(ADDRESSES[-1]) == (SERVER, 100.0)


def test_who_uses_it_keeps_its_meaning() -> None:
    leases = Leases.create(NETWORKS)
    leases.put(ADDRESSES[1], SERVER, 0.0)
    leases.use(ADDRESSES[1])
    _, until = leases.look(ADDRESSES[1])
    assert 0 <= time.monotonic() + GRACE - until < 5


def test_an_address_that_is_withheld_leads_nowhere_until_it_is_lent() -> None:
    leases = Leases.create(NETWORKS)
    leases.put(ADDRESSES[1], ADDRESSES[1], 100.0)
    assert leases.use(ADDRESSES[1]) is leases.host(ADDRESSES[1]) is None
    assert leases.look(ADDRESSES[1]) == (ADDRESSES[1], 100.0)
    leases.put(ADDRESSES[1], SERVER, 50.0)
    assert leases.use(ADDRESSES[1]) == leases.host(ADDRESSES[1]) == SERVER


def test_it_never_gets_shorter_but_with_another_meaning() -> None:
    leases = Leases.create(NETWORKS)
    leases.put(ADDRESSES[1], SERVER, 100.0)
    leases.put(ADDRESSES[1], SERVER, 50.0)
    assert leases.look(ADDRESSES[1]) == (SERVER, 100.0)
    leases.put(ADDRESSES[1], OTHER, 50.0)
    assert leases.look(ADDRESSES[1]) == (OTHER, 50.0)


def test_a_lease_may_have_ended_before_the_clock_began() -> None:
    leases = Leases.create(NETWORKS)
    leases.put(ADDRESSES[1], SERVER, -300.0)
    assert leases.look(ADDRESSES[1]) == (SERVER, 0.0)
    leases.put(ADDRESSES[1], SERVER, -200.0)
    assert leases.look(ADDRESSES[1]) == (SERVER, 0.0)


@given(st.dictionaries(st.sampled_from(ADDRESSES), st.integers(1, (1 << 128) - 1)))
def test_each_address_has_its_own_meaning(lent: dict[int, int]) -> None:
    leases = Leases.create(NETWORKS)
    for v4, v6 in lent.items():
        leases.put(v4, v6, 1.0)
    for v4 in ADDRESSES:
        assert leases.look(v4)[0] == lent.get(v4, 0)


def test_a_lender_that_died_while_it_wrote_blocks_no_address() -> None:
    leases = Leases.create(NETWORKS)
    leases.put(ADDRESSES[0], SERVER, 100.0)
    with mmap.mmap(leases.state(), 0) as memory:
        memory[0] += 1  # how often it was written, in the middle of writing
    assert leases.look(ADDRESSES[0]) == NOTHING
    leases.put(ADDRESSES[0], SERVER, 200.0)
    assert leases.look(ADDRESSES[0]) == (SERVER, 200.0)

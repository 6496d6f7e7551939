"""Tables in the kernel: whole or not at all, and some that live and die with their maker."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from faith.kernel.nft.expressions import accept, daddr_in, dport_in, jump, leave
from faith.kernel.nft.nftables import Nftables
from faith.kernel.nft.ruleset import ADDRESS, PORT, Chain, Hook, Rule, Set, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.lab import Network

pytestmark = pytest.mark.netns

TOP = 65535


def table(name: str, *rules: bytes, ports: tuple[tuple[int, int], ...] = ()) -> Table:
    return Table(
        name,
        (Set("addresses", ADDRESS), Set("ports", PORT, ports)),
        (
            Chain("in", tuple(Rule("", rule) for rule in rules), Hook("filter", "input", -5)),
            Chain("sub", (Rule("", leave()),)),
        ),
    )


GOOD = table("good", daddr_in("addresses") + jump("sub"), dport_in("ports") + accept())
BAD = table("good", accept(), jump("nowhere"))


@pytest.fixture
def nft(network: Network) -> Iterator[Nftables]:
    with network.host("host").inside(), Nftables() as nft:
        yield nft


@pytest.fixture
def program(nft: Nftables, network: Network, need: Callable[[str], str]) -> Callable[[str], str]:
    path = need("nft")
    return lambda words: network.hosts["host"].run([path, *words.split()]).stdout


def test_a_table_is_made_and_found_and_deleted(nft: Nftables) -> None:
    assert not nft.exists("good")
    nft.replace(GOOD)
    assert nft.exists("good")
    assert nft.has_rules_of(GOOD)
    assert nft.delete("good")
    assert not nft.delete("good")
    assert not nft.exists("good")


def test_nothing_is_changed_by_a_batch_that_fails(nft: Nftables) -> None:
    nft.replace(GOOD)
    with pytest.raises(OSError, match="No such file") as refused:
        nft.replace(BAD)
    assert refused.value.errno == errno.ENOENT
    assert nft.has_rules_of(GOOD)


def test_nothing_is_left_of_a_table_that_could_not_be_made(nft: Nftables) -> None:
    for make in (nft.replace, nft.create):
        with pytest.raises(OSError, match="No such file"):
            make(BAD)
        assert not nft.exists("good")


@pytest.mark.parametrize(
    "ranges",
    [
        (),
        ((0, 0),),
        ((1, TOP),),
        ((0, TOP),),
        ((TOP, TOP),),
        ((5, 5), (6, 9), (10, 10), (12, TOP)),
        tuple((port, port) for port in range(1, 10001, 2)),
    ],
    ids=len,
)
def test_intervals_come_back(ranges: tuple[tuple[int, int], ...], nft: Nftables) -> None:
    wanted = Set("ports", PORT, ranges)
    nft.replace(table("good", ports=ranges))
    assert nft.ranges("good", wanted) == ranges
    nft.refill("good", Set("ports", PORT, ((7, 8),)))
    assert nft.ranges("good", wanted) == ((7, 8),)
    nft.refill("good", wanted)
    assert nft.ranges("good", wanted) == ranges


def test_a_refill_that_fails_leaves_what_was_there(nft: Nftables) -> None:
    nft.replace(table("good", ports=((7, 8),)))
    with pytest.raises(OSError, match="exists"):
        nft.refill("good", Set("ports", PORT, ((1, 5), (3, 9))))
    assert nft.ranges("good", Set("ports", PORT)) == ((7, 8),)


def test_the_elements_of_no_set(nft: Nftables) -> None:
    assert nft.ranges("good", Set("ports", PORT)) == ()
    nft.replace(GOOD)
    assert nft.ranges("good", Set("others", PORT)) == ()


class TestOwned:
    def test_it_goes_with_its_maker(self, nft: Nftables) -> None:
        with Nftables() as maker:
            maker.create(GOOD)
            assert nft.has_rules_of(GOOD)
        assert not nft.exists("good")

    def test_a_name_is_taken_once(self, nft: Nftables) -> None:
        nft.create(GOOD)
        with pytest.raises(FileExistsError):
            nft.create(GOOD)
        assert nft.exists("good")

    def test_nobody_else_can_change_it(self, nft: Nftables) -> None:
        with Nftables() as maker:
            maker.create(GOOD)
            for change in (
                lambda: nft.delete("good"),
                lambda: nft.replace(GOOD),
                lambda: nft.create(GOOD),
                lambda: nft.refill("good", Set("ports", PORT, ((7, 8),))),
            ):
                with pytest.raises(PermissionError):
                    change()
            maker.refill("good", Set("ports", PORT, ((7, 8),)))
            assert nft.ranges("good", Set("ports", PORT)) == ((7, 8),)

    def test_flushing_the_ruleset_passes_it_over(
        self, nft: Nftables, program: Callable[[str], str]
    ) -> None:
        nft.create(GOOD)
        nft.replace(table("plain"))
        program("flush ruleset")
        assert not nft.exists("plain")
        assert nft.has_rules_of(GOOD)

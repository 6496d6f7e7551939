from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faith.daemon.host import held_prefixes
from faith.daemon.host.held_prefixes import HeldPrefixes
from faith.errors import SetupError
from faith.translation.prefix import RFC6052, Prefix

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

ONE, TWO, THREE = (Prefix.parse(f"2001:db8:{number}::/96") for number in (1, 2, 3))
WIDE = Prefix.parse("2001:db8:100::/40", RFC6052)


class Host:
    """The prefixes reserved on a host: *others* by ``faith -e``; *refused* cannot be."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.others: set[Prefix] = set()
        self.ours: list[Prefix] = []
        self.refused: set[Prefix] = set()
        self.left: list[set[Prefix]] = []
        for name in ("reserve", "release", "release_abandoned"):
            monkeypatch.setattr(held_prefixes, name, getattr(self, name))

    def reserve(
        self,
        prefixes: Iterable[Prefix],
        users: Iterable[int],
        *,
        ours: Collection[Prefix] = (),
        given_up: Collection[Prefix] = (),
    ) -> list[Prefix]:
        claimed = [one for one in prefixes if one not in self.others or one in ours]
        if self.refused.intersection(claimed):
            raise SetupError("reserve", "not here")
        self.ours += claimed
        return claimed

    def release(self, prefixes: Collection[Prefix]) -> None:
        self.ours = [prefix for prefix in self.ours if prefix not in prefixes]

    def release_abandoned(self, wanted: Collection[Prefix]) -> None:
        self.left.append({*wanted})


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(monkeypatch)


def test_what_faith_e_has_reserved_is_not_set_up_and_stays(host: Host) -> None:
    host.others = {TWO}
    held = HeldPrefixes()
    held.start([ONE, TWO])
    assert held.set_up == [ONE]
    assert host.left == [{ONE, TWO}]
    held.close()
    assert held.set_up == []
    assert host.ours == []


def test_a_change_holds_the_new_and_releases_the_old(host: Host) -> None:
    held = HeldPrefixes()
    held.start([ONE, TWO])
    held.change([TWO, THREE, THREE])
    assert host.ours == [TWO, THREE]
    assert held.set_up == [TWO, THREE]


def test_what_faith_d_has_released_is_ours_from_the_next_change(host: Host) -> None:
    host.others = {TWO}
    held = HeldPrefixes()
    held.start([ONE, TWO])
    host.others.clear()
    held.change([ONE, TWO])
    assert held.set_up == host.ours == [ONE, TWO]


def test_a_change_that_fails_leaves_all_as_it_was(host: Host) -> None:
    held = HeldPrefixes()
    held.start([ONE])
    host.refused = {THREE}
    with pytest.raises(SetupError, match="not here"):
        held.change([TWO, THREE])
    assert host.ours == held.set_up == [ONE]


def test_a_prefix_in_another_layout_is_not_released(host: Host) -> None:
    held = HeldPrefixes()
    held.start([WIDE])
    held.change([again := Prefix(WIDE.address, WIDE.length)])
    assert held.set_up == [again]
    assert WIDE in host.ours, "routes.reserve has replaced it"


def test_what_the_next_program_does_not_have_it_lets_go_of(host: Host) -> None:
    before = HeldPrefixes()
    before.start([ONE, WIDE])
    left = {Prefix.parse(*text) for text in before.state()}
    assert left == {ONE, WIDE}
    now = HeldPrefixes()
    now.start([WIDE], left)
    assert host.left[-1] == {ONE, WIDE}, "not before the next program serves"
    now.release_others(left)
    assert ONE not in host.ours

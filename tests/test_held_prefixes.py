from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from faith.daemon.host import held_prefixes
from faith.daemon.host.held_prefixes import HeldPrefixes
from faith.errors import SetupError
from faith.translation.prefix import RFC6052, Prefix

if TYPE_CHECKING:
    from collections.abc import Iterator

ONE, TWO, THREE = (Prefix.parse(f"2001:db8:{number}::/96") for number in (1, 2, 3))
WIDE = Prefix.parse("2001:db8:100::/40", RFC6052)


class Host:
    """The prefixes reserved on a host: *others* by ``faith -e``; *refused* cannot be."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.others: set[Prefix] = set()
        self.ours: list[Prefix] = []
        self.refused: set[Prefix] = set()
        self.released: list[Prefix] = []
        monkeypatch.setattr(held_prefixes, "reservation", self._reservation)
        monkeypatch.setattr(held_prefixes, "release", self.released.append)

    @contextmanager
    def _reservation(self, prefix: Prefix, *, ours: bool = False) -> Iterator[bool]:
        if prefix in self.refused:
            raise SetupError("reserve", "not here")
        if prefix in self.others:
            yield False
            return
        self.ours.append(prefix)
        try:
            yield True
        finally:
            self.released.append(prefix)
            self.ours.remove(prefix)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(monkeypatch)


def test_what_somebody_else_has_reserved_is_not_set_up_and_stays(host: Host) -> None:
    host.others = {TWO}
    held = HeldPrefixes()
    held.change([ONE, TWO])
    assert held.set_up == [ONE]
    held.close()
    assert held.set_up == []
    assert host.released == [ONE]


def test_a_change_holds_the_new_before_it_lets_go_of_the_old(host: Host) -> None:
    held = HeldPrefixes()
    held.change([ONE, TWO])
    held.change([TWO, THREE, THREE])
    assert host.ours == [TWO, THREE]
    assert host.released == [ONE]
    assert held.set_up == [TWO, THREE]


def test_a_change_that_fails_leaves_all_as_it_was(host: Host) -> None:
    held = HeldPrefixes()
    held.change([ONE])
    host.refused = {THREE}
    with pytest.raises(SetupError, match="not here"):
        held.change([TWO, THREE])
    assert host.ours == held.set_up == [ONE]
    assert host.released == [TWO]


def test_the_last_that_was_held_is_the_first_to_go(host: Host) -> None:
    held = HeldPrefixes()
    for prefix in (ONE, TWO, THREE):
        held.hold(prefix)
    held.close()
    assert host.released == [THREE, TWO, ONE]
    held.close()  # there is nothing any more
    assert len(host.released) == 3


def test_what_the_next_program_does_not_have_it_lets_go_of(host: Host) -> None:
    before = HeldPrefixes()
    before.change([ONE, WIDE])
    left = {Prefix.parse(*text) for text in before.state()}
    assert left == {ONE, WIDE}
    now = HeldPrefixes()
    now.hold(WIDE, ours=True)
    now.release_others(left)
    assert host.released == [ONE]

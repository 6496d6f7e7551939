"""The prefixes that a daemon has reserved for as long as it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.daemon.host.prefix_reservation import release, release_abandoned, reserve

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from faith.translation.prefix import Prefix


class HeldPrefixes:
    """A set of held prefixes, which is changed as a whole; *users* may send from them."""

    def __init__(self, users: Iterable[int] = ()) -> None:
        self.users = frozenset(users)
        self.set_up: list[Prefix] = []
        """The prefixes that are not reserved by ``faith -e``."""

    def start(self, prefixes: Iterable[Prefix], ours: Collection[Prefix] = ()) -> None:
        """Hold *prefixes*, of which the predecessor process held those that are *ours*.

        What a killed daemon has left is released.  Raises SetupError.
        """
        wanted = tuple(dict.fromkeys(prefixes))
        release_abandoned({*wanted, *ours})
        self.set_up = reserve(wanted, self.users, ours=ours)

    def change(self, prefixes: Iterable[Prefix]) -> None:
        """Hold exactly *prefixes*.  Raises SetupError, and then the old ones stay."""
        wanted = tuple(dict.fromkeys(prefixes))
        ours = set(self.set_up)
        new = [prefix for prefix in wanted if prefix not in ours]
        gone = ours - {*wanted}
        set_up = reserve(new, self.users, given_up=gone)
        stays = {(prefix.address, prefix.length) for prefix in wanted}  # in another layout, maybe
        self.set_up = [one for one in self.set_up if one not in gone] + set_up
        release([one for one in gone if (one.address, one.length) not in stays])

    def state(self) -> list[tuple[str, str]]:
        """Return the prefixes that this daemon has reserved, for an upgrade: address and layout."""
        return [(str(prefix), prefix.layout) for prefix in self.set_up]

    def release_others(self, left: Iterable[Prefix]) -> None:
        """Release the prefixes that the predecessor process had set up, and this one has not."""
        release([*{*left} - {*self.set_up}])

    def close(self) -> None:
        """Release all."""
        held, self.set_up = self.set_up, []
        release(held)

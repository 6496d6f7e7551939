"""The prefixes that a daemon has reserved for as long as it runs."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from faith.daemon.host.prefix_reservation import release, reservation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.translation.prefix import Prefix


class HeldPrefixes:
    """A set of held prefixes, each of which can be released."""

    def __init__(self) -> None:
        self._held: dict[Prefix, ExitStack] = {}
        self.set_up: list[Prefix] = []
        """The prefixes that nobody else had reserved."""

    def hold(self, prefix: Prefix, *, ours: bool = False) -> None:
        """Reserve *prefix*, unless it is reserved already.  Raises SetupError.

        It is *ours* when the predecessor process held it.
        """
        with ExitStack() as undo:
            if undo.enter_context(reservation(prefix, ours=ours)):
                self.set_up.append(prefix)
            self._held[prefix] = undo.pop_all()

    def change(self, prefixes: Iterable[Prefix]) -> None:
        """Hold exactly *prefixes*.  Raises SetupError, and then the old ones stay."""
        wanted = dict.fromkeys(prefixes)
        before = list(self._held)
        try:
            for prefix in wanted:
                if prefix not in self._held:
                    self.hold(prefix)
        except BaseException:
            self._let_go(self._held.keys() - before)
            raise
        self._let_go(self._held.keys() - wanted.keys())

    def state(self) -> list[tuple[str, str]]:
        """Return the prefixes that nobody else had reserved, for an upgrade: address and layout."""
        return [(str(prefix), prefix.layout) for prefix in self.set_up]

    def release_others(self, left: Iterable[Prefix]) -> None:
        """Release the prefixes that the predecessor process had set up, and this one has not."""
        for prefix in {*left} - {*self.set_up}:
            release(prefix)

    def close(self) -> None:
        """Release all, the last first."""
        self._let_go(reversed(list(self._held)))

    def _let_go(self, prefixes: Iterable[Prefix]) -> None:
        for prefix in prefixes:
            undo = self._held.pop(prefix)
            if prefix in self.set_up:
                self.set_up.remove(prefix)
            undo.close()

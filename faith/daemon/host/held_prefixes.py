"""The prefixes that a daemon has reserved for as long as it runs, and what becomes of them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from faith.daemon.host.prefix_reservation import release, reservation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faith.translation.prefix import Prefix


class Reservations:
    """Prefixes that are held, each of which can be let go of."""

    def __init__(self) -> None:
        self._held: dict[Prefix, ExitStack] = {}
        self.set_up: list[Prefix] = []
        """Those that nobody else had reserved."""

    def hold(self, prefix: Prefix, *, ours: bool = False) -> None:
        """Reserve *prefix*, unless somebody has.  Raises SetupError.

        It is *ours* when the program before this one in the process held it.
        """
        with ExitStack() as undo:
            if undo.enter_context(reservation(prefix, ours=ours)):
                self.set_up.append(prefix)
            self._held[prefix] = undo.pop_all()

    def change(self, prefixes: Iterable[Prefix]) -> None:
        """Hold *prefixes* and no others.  Raises SetupError, and then all is as it was."""
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
        """Those that nobody else had reserved, for the next program: address and layout."""
        return [(str(prefix), prefix.layout) for prefix in self.set_up]

    def descriptors(self) -> tuple[()]:
        """None."""
        return ()

    def release_others(self, left: Iterable[Prefix]) -> None:
        """Let go of what the program before this one had set up, and this one has not."""
        for prefix in {*left} - {*self.set_up}:
            release(prefix)

    def close(self) -> None:
        """Let go of all, the last first."""
        self._let_go(reversed(list(self._held)))

    def _let_go(self, prefixes: Iterable[Prefix]) -> None:
        for prefix in prefixes:
            undo = self._held.pop(prefix)
            if prefix in self.set_up:
                self.set_up.remove(prefix)
            undo.close()

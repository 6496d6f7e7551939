"""The addresses of a name for what cannot be tried as connections are: the best of them first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.relay.proxy.happy_dial import RESOLUTION_DELAY, Candidates
from faith.translation.reasons import NAME_FAILED, NO_NAME

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Handle
    from collections.abc import Callable

    from faith.relay.proxy.name_search import Found, Names, NameSearch

    Done = Callable[[list[str] | str], object]

PATIENCE = 10.0
"""Seconds that a search may take."""


class AddressSearch:
    """Looks *name* up for *client*, by its number among shares; *done* is called once, after this
    was made.

    It gets the addresses in the order of RFC 8305 §4, or the reason why there is none.  A family
    that is late, by the resolution delay of RFC 8305 §3, is not waited for.
    """

    def __init__(
        self,
        loop: AbstractEventLoop,
        names: Names | None,
        name: str,
        done: Done,
        client: int,
    ) -> None:
        self._loop = loop
        self._done = done
        self._candidates = Candidates()
        self._why: str | None = None
        self._families = {4, 6}
        self._search: NameSearch | None = None
        self._is_over = False
        self._timer: Handle = loop.call_later(PATIENCE, self._answer)
        if names is None:
            self._families.clear()
            self._why = NAME_FAILED
            self._soon()
        else:
            self._search = names.look_up(name, self._found, client)

    def cancel(self) -> None:
        """Stop: *done* is not called any more."""
        self._is_over = True
        self._timer.cancel()
        if self._search is not None:
            self._search.cancel()

    def _found(self, found: Found) -> None:
        if self._is_over:
            return
        self._families.discard(found.family)
        self._candidates.add(found)
        if found.failure and self._why != NAME_FAILED:
            self._why = found.failure
        if not self._families:
            self._soon()
        elif found.addresses:
            self._timer.cancel()
            self._timer = self._loop.call_later(RESOLUTION_DELAY, self._answer)

    def _soon(self) -> None:
        self._timer.cancel()
        self._timer = self._loop.call_soon(self._answer)

    def _answer(self) -> None:
        addresses = []
        while self._candidates:
            addresses.append(self._candidates.take())
        self.cancel()
        self._done(addresses or self._why or (NAME_FAILED if self._families else NO_NAME))

"""The interface by which a proxy has names looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Found(NamedTuple):
    """The *addresses* of one *family* (4 or 6) that a name has; *failure* is why none is known.

    A name without addresses of that family has neither.
    """

    family: int
    addresses: tuple[str, ...] = ()
    failure: str | None = None


class NameSearch(Protocol):
    """A search under way."""

    def cancel(self) -> object:
        """Stop it; nothing is called any more."""


class Names(Protocol):
    """Whoever looks names up."""

    def look_up(self, name: str, found: Callable[[Found], object], client: int) -> NameSearch:
        """Look *name* up for *client*, by its number among shares.

        The name is in lower case and has no dot at its end.

        *found* is called once for each family, in the order of the answers, maybe before this
        returns.
        """

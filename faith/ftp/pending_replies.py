"""The replies that a server owes to commands in which the ALG has no part."""

from __future__ import annotations

_TO_ABORTED = frozenset((225, 226, 250))
"""Replies to ABOR, or to what it aborts (RFC 959 §5.4), besides those of 400 and above."""


class Debt:
    """Counts them, so that it is known which reply is to whom; true while there are any.

    The first is the greeting, and then there is one to each command, but for ABOR.  RFC 959 has two
    replies to that and the transfer it ends; of servers, some have one, and pure-ftpd none.  These
    are *in doubt*: a reply that can be to neither tells that there will be no more of them.
    """

    def __init__(self) -> None:
        self._owed = 1
        self._in_doubt = 0  # of those, the first
        self._under_way = False  # a transfer, which the first is to

    def __bool__(self) -> bool:
        return self._owed > 0

    def add(self, verb: bytes) -> None:
        """A command has gone to the server."""
        self._owed += 1
        if verb == b"ABOR" and self._owed == (self._in_doubt or self._under_way) + 1:
            self._in_doubt = self._owed

    def hear(self, code: int) -> None:
        """A reply begins."""
        self._under_way = code < 200
        if self._in_doubt and 200 <= code < 400 and code not in _TO_ABORTED:
            self._owed -= self._in_doubt
            self._in_doubt = 0

    def settle(self) -> None:
        """A reply to such a command is complete; or to none, where nothing is owed."""
        self._owed = max(self._owed - 1, 0)
        self._in_doubt = max(self._in_doubt - 1, 0)

    def state(self) -> list[int]:
        """What :meth:`restore` makes another one like this from."""
        return [self._owed, self._in_doubt, self._under_way]

    def restore(self, state: list[int]) -> None:
        """Go on where the one stopped whose :meth:`state` this is."""
        self._owed, self._in_doubt = state[:2]
        self._under_way = bool(state[2])

    def forgive(self) -> None:
        """Nothing is owed any more."""
        self._owed = self._in_doubt = 0

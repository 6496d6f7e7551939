"""The replies that a server owes to commands in which the ALG has no part."""

from __future__ import annotations

_ENDS_OF_TRANSFER = frozenset((225, 226, 250))
"""Replies to a transfer, to ABOR, or to both (RFC 959 §5.4), besides those of 400 and above."""
_READY_SOON = 120
"""A reply that goes before a greeting, and before no transfer."""


class Debt:
    """Counts them, so that it is known which reply is to whom; true while there are any.

    The first is the greeting, and then there is one to each command; but servers differ in two
    things.  To ABOR and the transfer it ends, RFC 959 has two replies; of servers, some have one,
    and pure-ftpd none.  These are *in doubt*: a reply that can be to neither tells that there will
    be no more of them.  Other commands *during* a transfer are answered at once, after the
    transfer, or never.  When the client goes on after the transfer, replies to these would be
    *late*: one of them is told by what it says, or taken for that to the next command.
    """

    def __init__(self) -> None:
        self._owed = 1
        self._in_doubt = 0  # of those, the first
        self._under_way = False  # a transfer, which the first is to
        self._during = 0  # more, to commands sent since that was under way
        self._late = 0  # more, to such commands of a transfer that is over

    def __bool__(self) -> bool:
        return self._owed + self._during > 0

    @property
    def under_way(self) -> bool:
        """Return whether a transfer is under way: the next reply may be a long time in coming."""
        return self._under_way

    def go_on(self) -> None:
        """The client has another command."""
        if not self._owed:
            self._late += self._during
            self._during = 0

    def add(self, verb: bytes) -> None:
        """A command has gone to the server."""
        if verb == b"ABOR":
            self._owed += 1
            if self._owed == (self._in_doubt or self._under_way) + 1:
                self._in_doubt = self._owed
                self._under_way = False
        elif self._under_way:
            self._during += 1
        else:
            self._owed += 1

    def settle(self, code: int, exchange: frozenset[int] | None = None) -> bool:
        """Return whether a reply of *code*, which begins, is to such a command, or to none.

        It is not if it is to the *exchange* that waits for one, given by the codes of replies that
        can be to nothing else; None while no exchange waits.
        """
        if exchange and code in exchange:
            self.forgive()
            return False
        if code < 200:
            return self._begin(code)
        ends_transfer = code in _ENDS_OF_TRANSFER or code >= 400
        if self._during and not ends_transfer and (self._under_way or self._in_doubt):
            self._during -= 1
            return True
        self._under_way = False
        if self._in_doubt and not ends_transfer:
            self._owed -= self._in_doubt
            self._in_doubt = 0
        if self._owed:
            self._owed -= 1
            self._in_doubt = max(self._in_doubt - 1, 0)
            return True
        return self._settle_unsure(code, exchange)

    def _begin(self, code: int) -> bool:
        if self._owed and not self._in_doubt and code != _READY_SOON:
            self._under_way = True
            self._late = 0
        return self._owed > 0

    def _settle_unsure(self, code: int, exchange: frozenset[int] | None) -> bool:
        """The same when nothing is owed for sure."""
        if self._during and (not exchange or code < 400):
            self._during -= 1
            return True
        if self._late and (exchange is None or (exchange and code < 400)):
            self._late -= 1
            return True
        return exchange is None

    def forgive(self) -> None:
        """Nothing is owed any more."""
        self._owed = self._in_doubt = self._during = self._late = 0
        self._under_way = False

    def state(self) -> list[int]:
        """Return the state for :meth:`restore` of another Debt, fit for JSON."""
        return [self._owed, self._in_doubt, self._under_way, self._during, self._late]

    def restore(self, state: list[int]) -> None:
        """Go on where the one stopped whose :meth:`state` this is."""
        self._owed, self._in_doubt = state[:2]
        self._under_way = bool(state[2])
        self._during, self._late = state[3:] or (0, 0)

"""Every port above 1023, for pairs of a client and a mapped address, while they are steered.

It is for data connections that nobody can read the announcement of: FTP's, behind TLS.  Where BPF
may be used a program at the socket lookup looks for the pair, elsewhere a rule of nftables.
"""

from __future__ import annotations

import _socket
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

from faith.errors import SetupError
from faith.kernel.steering.base import listen
from faith.kernel.steering.binding_program import PairProgram
from faith.kernel.steering.binding_table import PairTable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    Pair = tuple[str, str]
    """A client's and a mapped address, as text without an interface."""

_STEP = "steer the data of encrypted FTP"
_KINDS: dict[str, type[PairProgram] | type[PairTable]] = {
    kind.way: kind for kind in (PairProgram, PairTable)
}


class Steered(Protocol):
    """What leads pairs, as octets, to listeners: `PairProgram` or `PairTable`."""

    way: str

    @classmethod
    def resume(cls, state: Any) -> Self: ...
    def state(self) -> Any: ...
    @property
    def descriptors(self) -> list[int]: ...
    def put(self, pair: bytes, listener: int) -> None: ...
    def take(self, pair: bytes) -> None: ...
    def close(self) -> None: ...


class Pairs:
    """Steers pairs to the *listeners*, one for each of *workers*; goes with the process.

    *way* is "sk_lookup" or "tproxy".  Raises SetupError when the kernel can do neither.
    """

    def __init__(self, workers: int) -> None:
        self._holders: dict[Pair, list[int]] = {}
        self._held: Counter[int] = Counter()
        with ExitStack() as undo:
            self.listeners = [listen(undo, "::1", 0, 1)[0] for _ in range(workers)]
            self._steered = _first_fit(self.listeners)
            undo.callback(self._steered.close)
            self._undo = undo.pop_all()

    @property
    def way(self) -> str:
        """How it is done."""
        return self._steered.way

    @classmethod
    def resume(cls, state: dict[str, Any]) -> Self:
        """The one whose `state` the program before this one has left."""
        made = cls.__new__(cls)
        made._holders = {(client, mapped): its for client, mapped, its in state["holders"]}
        made._held = Counter(worker for its in made._holders.values() for worker in its)
        with ExitStack() as undo:
            made.listeners = [_socket.socket(fileno=fd) for fd in state["listeners"]]
            for listener in made.listeners:
                undo.callback(listener.close)
            made._steered = _KINDS[state["way"]].resume(state["steered"])
            undo.callback(made._steered.close)
            made._undo = undo.pop_all()
        return made

    def state(self) -> dict[str, Any]:
        """What makes another like it in the next program of this process, fit for JSON."""
        return {
            "holders": [[*pair, its] for pair, its in self._holders.items()],
            "listeners": [listener.fileno() for listener in self.listeners],
            "way": self.way,
            "steered": self._steered.state(),
        }

    @property
    def descriptors(self) -> list[int]:
        """Those that are in the state."""
        listeners = [listener.fileno() for listener in self.listeners]
        return listeners + self._steered.descriptors

    def steer(self, pair: Pair, worker: int) -> None:
        """Have *pair* come to *worker*, or to one that asked for it before.  Raises OSError."""
        if pair not in self._holders:
            self._steered.put(_key(pair), worker)
        self._holders.setdefault(pair, []).append(worker)
        self._held[worker] += 1

    def unsteer(self, pair: Pair, worker: int) -> None:
        """Take back one `steer`; a no-op when there was none, or it was refused."""
        holders = self._holders.get(pair, [])
        if worker not in holders:
            return
        holders.remove(worker)
        self._held[worker] -= 1
        if not holders:
            del self._holders[pair]
            self._steered.take(_key(pair))
        elif worker not in holders:  # it may have been the one that had it
            self._steered.put(_key(pair), holders[0])

    def held(self, worker: int) -> int:
        """Return how often *worker* has asked for a pair, and not taken it back."""
        return self._held[worker]

    def forget(self, worker: int) -> None:
        """Take back all that *worker* asked for."""
        for pair, holders in list(self._holders.items()):
            for _ in range(holders.count(worker)):
                self.unsteer(pair, worker)

    def close(self) -> None:
        """Steer nothing any more; in a forked process, only let go of it."""
        self._undo.close()


def _first_fit(listeners: Sequence[_socket.socket]) -> Steered:
    refusals = []
    for start in _KINDS.values():
        try:
            return start(listeners)
        except SetupError as error:
            refusals.append(f"{start.way}: {error}")
    raise SetupError(_STEP, "no way is open; " + "; ".join(refusals))


def _key(pair: Pair) -> bytes:
    return b"".join(_socket.inet_pton(_socket.AF_INET6, address) for address in pair)

"""Host bindings: every port above 1023 of a mapped address, steered to a worker for one client.

They serve data connections whose announcement nobody on the gateway can read: FTP's, behind TLS.
Where BPF may be used a program at the socket lookup finds the pair, elsewhere an nftables rule.
"""

from __future__ import annotations

import _socket
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

from faith.kernel.descriptor import Descriptor
from faith.kernel.steering.base import listen
from faith.kernel.steering.binding_program import BindingProgram
from faith.kernel.steering.binding_table import BindingTable
from faith.kernel.steering.first_fit import first_fit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    Pair = tuple[str, str]
    """A client's and a mapped address, as text without a zone."""

_STEP = "steer the data of encrypted FTP"
_KINDS: dict[str, type[BindingProgram] | type[BindingTable]] = {
    kind.method: kind for kind in (BindingProgram, BindingTable)
}


class Steered(Protocol):
    """The steering of pairs, as octets, to listeners: `BindingProgram` or `BindingTable`."""

    method: str

    def state(self) -> Any: ...
    def put(self, pair: bytes, listener: int) -> None: ...
    def remove(self, pair: bytes) -> None: ...
    def close(self) -> None: ...


class HostBindings:
    """The steering of pairs to the *listeners*, one for each worker; it ends with the process.

    *holders* are the workers that asked for each pair.
    """

    def __init__(
        self,
        listeners: Sequence[_socket.socket],
        steered: Steered,
        holders: dict[Pair, list[int]],
    ) -> None:
        self.listeners = listeners
        self._steered = steered
        self._holders = holders
        self._held = Counter(worker for its in holders.values() for worker in its)

    @classmethod
    def create(cls, workers: int) -> Self:
        """Make a listener for each of *workers*, by "sk_lookup" or "tproxy".

        Raises SetupError when the kernel can do neither.
        """
        with ExitStack() as undo:
            listeners = [listen(undo, "::1", 0, 1)[0] for _ in range(workers)]
            makers: dict[str, Callable[..., Steered]] = {
                name: kind.create for name, kind in _KINDS.items()
            }
            _, steered = first_fit(_STEP, "", makers, listeners)
            undo.pop_all()
        return cls(listeners, steered, {})

    @classmethod
    def adopt(cls, state: dict[str, Any]) -> Self:
        """Adopt the bindings whose `state` the predecessor process left."""
        listeners = [_socket.socket(fileno=fd) for fd in state["listeners"]]
        steered = _KINDS[state["way"]].adopt(state["steered"])
        holders = {(client, mapped): its for client, mapped, its in state["holders"]}
        return cls(listeners, steered, holders)

    @property
    def method(self) -> str:
        """The steering method."""
        return self._steered.method

    def state(self) -> dict[str, Any]:
        """Return the state that an upgrade passes to the successor process, fit for JSON."""
        return {
            "holders": [[*pair, its] for pair, its in self._holders.items()],
            "listeners": [Descriptor.of(listener) for listener in self.listeners],
            "way": self.method,
            "steered": self._steered.state(),
        }

    def steer(self, pair: Pair, worker: int) -> None:
        """Steer *pair* to *worker*, unless another worker asked for it before.  Raises OSError."""
        if pair not in self._holders:
            self._steered.put(_key(pair), worker)
        self._holders.setdefault(pair, []).append(worker)
        self._held[worker] += 1

    def unsteer(self, pair: Pair, worker: int) -> None:
        """Take back one `steer`; does nothing when there was none, or it was refused."""
        holders = self._holders.get(pair, [])
        if worker not in holders:
            return
        holders.remove(worker)
        self._held[worker] -= 1
        if not holders:
            del self._holders[pair]
            self._steered.remove(_key(pair))
        elif worker not in holders:  # it may have been the worker that the pair was steered to
            self._steered.put(_key(pair), holders[0])

    def held(self, worker: int) -> int:
        """Return how often *worker* has asked for a pair, and not taken it back."""
        return self._held[worker]

    def forget(self, worker: int) -> None:
        """Take back every pair that *worker* asked for."""
        for pair, holders in list(self._holders.items()):
            for _ in range(holders.count(worker)):
                self.unsteer(pair, worker)

    def close(self) -> None:
        """Stop steering."""
        self._steered.close()
        for listener in self.listeners:
            listener.close()


def _key(pair: Pair) -> bytes:
    return b"".join(_socket.inet_pton(_socket.AF_INET6, address) for address in pair)

"""Every port above 1023, for pairs of a client and a mapped address, while they are steered.

It is for data connections that nobody can read the announcement of: FTP's, behind TLS.  A BPF
program at the socket lookup, as in `faith.kernel.steering.sk_lookup`, looks for the pair.
"""

from __future__ import annotations

import _socket
import struct
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from faith.kernel import bpf, capabilities
from faith.kernel.assembler import assemble
from faith.kernel.steering.base import listen
from faith.kernel.steering.lookup_program import PAIR_SIZE, SLOT, pairs_program

if TYPE_CHECKING:
    Pair = tuple[str, str]
    """A client's and a mapped address, as text without an interface."""

CAPABILITIES = ("CAP_BPF", "CAP_NET_ADMIN")
MOST_PAIRS = 65536


class Pairs:
    """Steers pairs to the *listeners*, one for each of *workers*; goes with the process.

    Raises SetupError when the kernel cannot do it.
    """

    def __init__(self, workers: int) -> None:
        self._holders: dict[Pair, list[int]] = {}
        with ExitStack() as undo:
            self.listeners = [listen(undo, "::1", 0, 1)[0] for _ in range(workers)]
            try:
                self._attach(undo)
            except OSError as error:
                step = "steer the data of encrypted FTP"
                raise capabilities.refusal(step, error, *CAPABILITIES) from error
            self._undo = undo.pop_all()

    def _attach(self, undo: ExitStack) -> None:
        self._map = undo.enter_context(
            bpf.Map(bpf.MAP_HASH, "faith_pairs", key=PAIR_SIZE, value=SLOT.size, entries=MOST_PAIRS)
        )
        with bpf.Map(
            bpf.MAP_SOCKMAP, "faith_data", key=SLOT.size, value=8, entries=len(self.listeners)
        ) as slots:
            for number, listener in enumerate(self.listeners):
                slots.update(SLOT.pack(number), struct.pack("=Q", listener.fileno()))
            code = assemble(pairs_program(self._map.fd, slots.fd))
            with (
                bpf.load(bpf.PROGRAM_SK_LOOKUP, "faith_pairs", code, bpf.ATTACH_SK_LOOKUP) as one,
                open("/proc/thread-self/ns/net", "rb") as namespace,
            ):
                undo.enter_context(bpf.link(one, namespace.fileno(), bpf.ATTACH_SK_LOOKUP))

    def steer(self, pair: Pair, worker: int) -> None:
        """Have *pair* come to *worker*, too: one of those that asked gets all.  Raises OSError."""
        self._map.update(_key(pair), SLOT.pack(worker))
        self._holders.setdefault(pair, []).append(worker)

    def unsteer(self, pair: Pair, worker: int) -> None:
        """Take back one `steer`; a no-op when there was none."""
        holders = self._holders.get(pair, [])
        if worker not in holders:
            return
        holders.remove(worker)
        with suppress(FileNotFoundError):
            if holders:
                self._map.update(_key(pair), SLOT.pack(holders[-1]))
            else:
                del self._holders[pair]
                self._map.delete(_key(pair))

    def forget(self, worker: int) -> None:
        """Take back all that *worker* asked for."""
        for pair, holders in list(self._holders.items()):
            for _ in range(holders.count(worker)):
                self.unsteer(pair, worker)

    def close(self) -> None:
        """Steer nothing any more; in a forked process, only let go of it."""
        self._undo.close()


def _key(pair: Pair) -> bytes:
    return b"".join(_socket.inet_pton(_socket.AF_INET6, address) for address in pair)

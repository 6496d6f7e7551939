"""The leases of a pool in a file, so that they outlive the process that lends.

The text is the pool's own, with every line padded to the same length and a line for every address,
lent or not: so a lease is written where it belongs, in one call, and the file never grows.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from faith.dns.pool import FORM, Pool, hosts
from faith.errors import ConfigError, FaithError, SetupError
from faith.kernel.shared.leases import NOTHING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Self

    from faith.dns.pool import Lease, Network
    from faith.kernel.shared.leases import Leases

LIMIT = 1 << 16
"""Addresses that a pool may have."""

_LINE = 80  # octets: two addresses and the seconds, the longest of each, and the end of the line


class Book:
    """The file *path* for a pool of *networks*, kept by nobody else as long as it is open.

    Processes that are forked off have it too: one of them at a time may lend.  All see in *leases*
    what is lent, if there are any.  Raises SetupError, and ConfigError when the file has something
    else in it.
    """

    def __init__(
        self, path: Path, networks: Sequence[Network], leases: Leases | None = None
    ) -> None:
        self._have(path, networks, leases)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise SetupError(f"open {path}", error.strerror or str(error)) from error
        try:
            self._lock()
            self._lay_out()
        except BaseException:
            self.close()
            raise

    @classmethod
    def resume(
        cls, fd: int, path: Path, networks: Sequence[Network], leases: Leases | None = None
    ) -> Self:
        """The one whose descriptor came from the program before this one."""
        made = cls.__new__(cls)
        made._have(path, networks, leases)
        made._file = fd
        return made

    def _have(self, path: Path, networks: Sequence[Network], leases: Leases | None) -> None:
        self._networks = networks
        self._spans = [hosts(*network) for network in networks]
        self._path = path
        self._leases = leases

    def copy(self) -> Book:
        """The same file by another descriptor."""
        return self.resume(os.dup(self._file), self._path, self._networks, self._leases)

    def fileno(self) -> int:
        """The descriptor of the file, which is nobody else's for as long as it is open."""
        return self._file

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SetupError(f"open {self._path}", "another process lends by it") from None

    def _lay_out(self) -> None:
        """Give every address its line, with the lease that it has had."""
        pool = self.pool(0.0)
        lines = [FORM]
        for v4 in (v4 for span in self._spans for v4 in span):
            lease = pool.find(v4)
            lines.append(lease.line(0.0) if lease else "")
        text = b"".join(map(_padded, lines))
        os.pwrite(self._file, text, 0)
        os.ftruncate(self._file, len(text))

    def pool(self, now: float) -> Pool:
        """The pool with the leases in the file, which writes there what it lends from now on.

        *now* is of the monotonic clock where there are `Leases`, and these have them too.
        """
        text = os.pread(self._file, os.fstat(self._file).st_size, 0).decode(errors="replace")
        try:
            pool = Pool.loads(text or FORM, self._networks, now)
        except FaithError as error:
            raise ConfigError(f"{self._path}: {error}") from error
        pool.told = self._write
        if leases := self._leases:
            for lease in pool:
                if leases.look(lease.v4) == NOTHING:
                    leases.put(lease.v4, lease.v6, lease.until)
            pool.known = leases.look
        return pool

    def save(self, pool: Pool, now: float) -> None:
        """Write down how long every lease has left."""
        for lease in pool:
            self._write(lease, now)

    def close(self) -> None:
        """Let others have it."""
        os.close(self._file)

    def _write(self, lease: Lease, now: float) -> None:
        if self._leases:
            self._leases.put(lease.v4, lease.v6, lease.until)
        os.pwrite(self._file, _padded(lease.line(now)), _LINE * (1 + self._index(lease.v4)))

    def _index(self, v4: int) -> int:
        before = 0
        for span in self._spans:
            if v4 in span:
                return before + span.index(v4)
            before += len(span)
        raise LookupError(v4)


def _padded(line: str) -> bytes:
    return line.ljust(_LINE - 1).encode() + b"\n"

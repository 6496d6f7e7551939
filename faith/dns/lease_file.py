"""The leases of a pool in a file, so that they outlive the process that lends.

The text is the pool's own, with every line padded to the same length and a line for every address,
lent or not: so a lease is written where it belongs, in one call, and the file never grows.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from faith.dns.pool import FORM, Lease, Pool, hosts
from faith.errors import ConfigError, FaithError, SetupError
from faith.kernel.descriptor import Descriptor
from faith.kernel.shared.leases import NOTHING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path
    from typing import Self

    from faith.dns.pool import Network
    from faith.kernel.shared.leases import Leases

log = logging.getLogger("faith.dns")

LIMIT = 1 << 16
"""Addresses that a pool may have."""

_LINE = 80  # octets: two addresses and the seconds, the longest of each, and the end of the line


class LeaseFile:
    """The *file*, at *path*, for a pool of *networks*, kept by nobody else as long as it is open.

    Processes that are forked off have it too: one of them at a time may lend.  All see in *leases*
    what is lent, if there are any.
    """

    def __init__(
        self, file: int, path: Path, networks: Sequence[Network], leases: Leases | None = None
    ) -> None:
        self._file = file
        self._path = path
        self._networks = networks
        self._spans = [hosts(*network) for network in networks]
        self._leases = leases

    @classmethod
    def create(cls, path: Path, networks: Sequence[Network], leases: Leases | None = None) -> Self:
        """Open the file, with a line for every address, and the leases that are in it already.

        Lines that cannot be read are left out, and the log says so.  Raises SetupError, with the
        file as it was, and ConfigError when something else is in it.
        """
        with _told(f"open {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            made = cls(_opened(path), path, networks, leases)
        try:
            with _told(f"write {path}"):
                made._lay_out()
        except BaseException:
            made.close()
            raise
        return made

    @classmethod
    def adopt(
        cls, state: int, path: Path, networks: Sequence[Network], leases: Leases | None = None
    ) -> Self:
        """Adopt the lease file whose `state` the predecessor process left."""
        return cls(state, path, networks, leases)

    def state(self) -> Descriptor:
        """Return the descriptor of the file, for an upgrade."""
        return Descriptor(self._file)

    def fileno(self) -> int:
        """The descriptor of the file, which is nobody else's for as long as it is open."""
        return self._file

    def _lay_out(self) -> None:
        """Give every address its line, with the lease that it has had, in a new file if need be."""
        pool = self.pool(0.0)
        if pool.damaged:
            log.error(
                "%s: %d lines cannot be read and are left out, of which the first is %s",
                self._path,
                len(pool.damaged),
                pool.damaged[0],
            )
        if withheld := [lease.left(0.0) for lease in pool if lease.is_withheld and lease.until > 0]:
            log.warning(
                "another host had addresses of the pool: lent to nobody for %.0f s: %d",
                max(withheld),
                len(withheld),
            )
        lines = [FORM]
        for v4 in (v4 for span in self._spans for v4 in span):
            lease = pool.find(v4)
            lines.append(lease.line(0.0) if lease else "")
        text = b"".join(map(_padded, lines))
        if text != self._text():
            self._replace(text)

    def _replace(self, text: bytes) -> None:
        """Put a file with *text* in the place of this one, whole or not at all."""
        new = self._path.with_name(f"{self._path.name}.new")
        file = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write_whole(file, text, 0)
            os.fsync(file)
            os.rename(new, self._path)
        except BaseException:
            os.close(file)
            new.unlink(missing_ok=True)
            raise
        os.close(self._file)
        self._file = file

    def _text(self) -> bytes:
        return os.pread(self._file, os.fstat(self._file).st_size, 0)

    def pool(self, now: float) -> Pool:
        """The pool with the leases in the file, which writes there what it lends from now on.

        *now* is of the monotonic clock where there are `Leases`, and these have them too.
        """
        # A file system that was cut off may have left a file of zeros.
        text = self._text().strip(b"\0").decode(errors="replace")
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
        """Write down how long every lease has left.  Raises OSError."""
        for lease in pool:
            self._write(lease, now)

    def withhold(self, addresses: Collection[int], seconds: float) -> None:
        """Write that *addresses* are withheld for so many seconds after the next start.

        Of a network that has several of them, all are: who has these has the others too.  What
        they were lent as is over.  Raises OSError.
        """
        for span in self._spans:
            there = [address for address in addresses if address in span]
            for v4 in span if len(there) > 1 else there:
                self._write(Lease(v4, v4, seconds), 0.0)

    def close(self) -> None:
        """Let others have it."""
        os.close(self._file)

    def _write(self, lease: Lease, now: float) -> None:
        if self._leases:
            self._leases.put(lease.v4, lease.v6, lease.until)
        place = _LINE * (1 + self._index(lease.v4))
        _write_whole(self._file, _padded(lease.line(now)), place)

    def _index(self, v4: int) -> int:
        before = 0
        for span in self._spans:
            if v4 in span:
                return before + span.index(v4)
            before += len(span)
        raise LookupError(v4)


def _opened(path: Path) -> int:
    """Open the file at *path*, which is then nobody else's.  Raises SetupError and OSError."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file), os.stat(path)):
                return file
        except BlockingIOError:
            os.close(file)
            hint = "stop that, or choose another pool_file"
            raise SetupError(f"open {path}", "another process lends by it", hint) from None
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # its owner has put another in its place meanwhile


def _write_whole(file: int, octets: bytes, place: int) -> None:
    if os.pwrite(file, octets, place) < len(octets):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def _told(step: str) -> Iterator[None]:
    """Raise what the system says in the block as SetupError."""
    try:
        yield
    except OSError as error:
        raise SetupError(step, error.strerror or str(error)) from error


def _padded(line: str) -> bytes:
    return line.ljust(_LINE - 1).encode() + b"\n"

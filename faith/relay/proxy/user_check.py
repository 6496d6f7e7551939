"""Passwords of a proxy's users, looked at beside the event loop, and no oftener than is good.

A hash is made to be slow.  One thread computes it, for one user after the other; a password that
was right is remembered, by a keyed digest that says nothing outside this process.
"""

from __future__ import annotations

import hmac
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from faith.proxy.password_hash import PasswordHash

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Mapping

    Answer = Callable[[bool | None], object]
    Verify = Callable[[str, bytes], bool]

MINUTE = 60.0
FAILURES = 10
"""Wrong passwords of one client in a minute, after which none of its is looked at."""
ALL_FAILURES = 600
"""Wrong passwords in a minute, after which only those that are remembered are right."""
REMEMBERED = 1024
"""Right passwords that are remembered; for one more, the first is forgotten."""
WAITING = 64
"""Passwords that may wait for the thread."""


def verify(line: str, password: bytes) -> bool:
    """Return whether *line* is the hash of *password*.  Raises ConfigError if it is no hash."""
    return PasswordHash.parse(line).verify(password)


class _Failures:
    """The times of the latest wrong passwords, *most* of them at most."""

    def __init__(self, most: int) -> None:
        self._times: deque[float] = deque(maxlen=most)
        self._most = most

    def add(self, now: float) -> None:
        self._times.append(now)

    def is_full(self, now: float) -> bool:
        """Return whether all of these were in the last minute."""
        return len(self._times) == self._most and now - self._times[0] < MINUTE

    def is_over(self, now: float) -> bool:
        """Return whether none of these was in the last minute."""
        return now - self._times[-1] >= MINUTE


class UserCheck:
    """Finds out whether users' passwords are right, for all clients of one process.

    *verify* is called in a thread, with the hash of a user and a password.  For a user that does
    not exist it is the hash of another, so that this costs the same; nothing is right then.
    """

    def __init__(self, loop: AbstractEventLoop, verify: Verify = verify) -> None:
        self._loop = loop
        self._verify = verify
        self._key = os.urandom(32)
        self._good: dict[bytes, None] = {}
        self._all = _Failures(ALL_FAILURES)
        self._of_client: dict[int, _Failures] = {}
        self._waiting = 0
        self._thread: ThreadPoolExecutor | None = None

    def check(
        self, client: int, users: Mapping[str, str], name: str, password: bytes, answer: Answer
    ) -> None:
        """Call *answer* later: with True if *password* is that of the user *name* among *users*.

        *users* has a hash for each name.  The *answer* is False for
        a wrong password and for a user that does not exist, which takes as long, and None where the
        *client*, by its number among shares, or all of them together, had too many wrong ones.
        """
        now = self._loop.time()
        line, exists = users.get(name, ""), name in users
        proof = self._digest(name, password, line)
        failures = self._of_client.get(client)
        if failures is not None and failures.is_full(now):
            self._loop.call_soon(answer, None)
        elif exists and proof in self._good:
            self._loop.call_soon(answer, True)
        elif self._all.is_full(now) or self._waiting >= WAITING:
            self._loop.call_soon(answer, None)
        else:
            self._waiting += 1
            self._ask(
                line if exists else next(iter(users.values()), ""),
                password,
                lambda good: self._found(client, proof, good and exists, answer),
            )

    def close(self) -> None:
        """Answer nobody any more."""
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)
            self._thread = None

    def _digest(self, name: str, password: bytes, line: str) -> bytes:
        # The line is in it: a new password is another one, and so is the same of another proxy.
        parts = [name.encode(errors="surrogateescape"), password, line.encode()]
        text = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self._key, text, "sha256")

    def _ask(self, line: str, password: bytes, found: Callable[[bool], None]) -> None:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "passwords")

        def look() -> None:
            try:
                good = self._verify(line, password)
            except Exception:  # noqa: BLE001  # whatever it is, it is no right password
                good = False
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(found, good)

        self._thread.submit(look)

    def _found(self, client: int, proof: bytes, good: bool, answer: Answer) -> None:
        self._waiting -= 1
        now = self._loop.time()
        if good:
            if len(self._good) >= REMEMBERED:
                del self._good[next(iter(self._good))]
            self._good[proof] = None
        else:
            self._count(client, now)
        answer(good)

    def _count(self, client: int, now: float) -> None:
        self._all.add(now)
        failures = self._of_client.pop(client, None) or _Failures(FAILURES)
        failures.add(now)
        self._of_client[client] = failures  # the last to be forgotten
        first = next(iter(self._of_client))
        if len(self._of_client) > ALL_FAILURES or self._of_client[first].is_over(now):
            del self._of_client[first]

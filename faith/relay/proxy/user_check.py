"""Passwords of a proxy's users, looked at beside the event loop, and no oftener than is good.

A hash is made to be slow.  One thread computes it, for one user after the other; a password that
was right is remembered, by a keyed digest that says nothing outside this process.
"""

from __future__ import annotations

import hmac
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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


class _Client:
    """A client: the times of its latest wrong passwords, and how many of its passwords wait."""

    def __init__(self) -> None:
        self.failures = _Failures(FAILURES)
        self.waiting = 0

    def has_enough(self, now: float) -> bool:
        """Return whether none of its passwords is to be looked at besides those that wait."""
        return self.failures.recent(now) + self.waiting >= FAILURES

    def is_over(self, now: float) -> bool:
        """Return whether nothing is left to be known of it."""
        return not self.waiting and not self.failures.recent(now)


class _Failures:
    """The times of the latest wrong passwords, *most* of them at most."""

    def __init__(self, most: int) -> None:
        self._times: deque[float] = deque(maxlen=most)
        self._most = most

    def add(self, now: float) -> None:
        self._times.append(now)

    def recent(self, now: float) -> int:
        """Return how many of these were in the last minute."""
        while self._times and now - self._times[0] >= MINUTE:
            self._times.popleft()
        return len(self._times)

    def is_full(self, now: float) -> bool:
        """Return whether all of these were in the last minute."""
        return self.recent(now) == self._most


@dataclass(slots=True)
class _Asked:
    """A password that is being looked at for a *client*: who waits for the answer, by client."""

    client: int
    exists: bool
    answers: list[tuple[int, Answer]]


class UserCheck:
    """Finds out whether users' passwords are right, for all clients of one process.

    *verify* is called in a thread, with the hash of a user and a password.  For a user that does
    not exist it is the hash of another, so that this costs the same; nothing is right then.  Who
    asks about the same at the same time has the same answer: a browser opens many connections.
    """

    def __init__(self, loop: AbstractEventLoop, verify: Verify = verify) -> None:
        self._loop = loop
        self._verify = verify
        self._key = os.urandom(32)
        self._good: dict[bytes, None] = {}
        self._all = _Failures(ALL_FAILURES)
        self._of_client: dict[int, _Client] = {}
        self._asked: dict[bytes, _Asked] = {}
        self._thread: ThreadPoolExecutor | None = None

    def check(
        self, client: int, users: Mapping[str, str], name: str, password: bytes, answer: Answer
    ) -> None:
        """Call *answer* later: with True if *password* is that of the user *name* among *users*.

        *users* has a hash for each name.  The *answer* is False for a wrong password and for a user
        that does not exist, which takes as long, and None where the *client*, by its number among
        shares, or all of them together, had too many wrong ones, or too many wait.
        """
        now = self._loop.time()
        line, exists = users.get(name, ""), name in users
        proof = self._digest(name, password, line)
        its = self._of_client.get(client)
        asked = self._asked.get(proof)
        if its is not None and its.failures.is_full(now):
            self._loop.call_soon(answer, None)
        elif exists and proof in self._good:
            self._loop.call_soon(answer, True)
        elif asked is not None:
            asked.answers.append((client, answer))
        elif self._all.is_full(now) or len(self._asked) >= WAITING:
            # It was not looked at, but was no remembered one: that is an answer, too.
            self._count(client, now)
            self._loop.call_soon(answer, None)
        elif its is not None and its.has_enough(now):
            self._loop.call_soon(answer, None)
        else:
            self._wait(client, 1)
            self._asked[proof] = _Asked(client, exists, [(client, answer)])
            self._ask(line if exists else self._other(users, name), password, proof)

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

    def _other(self, users: Mapping[str, str], name: str) -> str:
        """Return a user's hash in place of *name*'s, who does not exist: it is always the same.

        What it costs must not tell: hashes of one file may differ in that.
        """
        lines = [*users.values()]
        chosen = int.from_bytes(self._digest(name, b"", ""))
        return lines[chosen % len(lines)] if lines else ""

    def _ask(self, line: str, password: bytes, proof: bytes) -> None:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "passwords")

        def look() -> None:
            try:
                good = self._verify(line, password)
            except Exception:  # noqa: BLE001  # whatever it is, it is no right password
                good = False
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._found, proof, good)

        self._thread.submit(look)

    def _found(self, proof: bytes, good: bool) -> None:
        asked = self._asked.pop(proof)
        now = self._loop.time()
        self._wait(asked.client, -1)
        good = good and asked.exists
        if good:
            if len(self._good) >= REMEMBERED:
                del self._good[next(iter(self._good))]
            self._good[proof] = None
        else:
            self._all.add(now)
            for client in {client for client, _ in asked.answers}:
                self._count(client, now)
        for _, answer in asked.answers:
            answer(good)

    def _count(self, client: int, now: float) -> None:
        """Count a password of *client* that was not right."""
        self._known(client).failures.add(now)
        first = next(iter(self._of_client))
        if self._of_client[first].is_over(now):
            del self._of_client[first]

    def _wait(self, client: int, more: int) -> None:
        its = self._known(client)
        its.waiting = max(0, its.waiting + more)  # it may have been forgotten meanwhile

    def _known(self, client: int) -> _Client:
        """Return what is known of *client*, which is the last to be forgotten."""
        its = self._of_client.pop(client, None) or _Client()
        if len(self._of_client) >= ALL_FAILURES:
            del self._of_client[next(iter(self._of_client))]
        self._of_client[client] = its
        return its

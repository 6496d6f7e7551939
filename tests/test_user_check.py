"""Passwords looked at in a thread, remembered when they were right, and limited when wrong."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest
import uvloop

from faith.proxy.password_hash import hashed
from faith.relay.proxy import user_check
from faith.relay.proxy.user_check import FAILURES, REMEMBERED, WAITING, UserCheck, verify
from tests.test_happy_dial import until

if TYPE_CHECKING:
    from collections.abc import Iterator

USERS = {"alice": "hash of secret", "bob": "hash of secret", "carol": "hash of other"}


class Bench:
    """A check of users whose hashes are no hashes, and what was looked at."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.looked_at: list[str] = []
        self.threads: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.check = UserCheck(loop, self.verify)
        self.answers: list[bool | None] = []

    def verify(self, line: str, password: bytes) -> bool:
        self.gate.wait(10)
        self.looked_at.append(line)
        self.threads.add(threading.current_thread().name)
        if password == b"broken":
            raise ValueError("no hash")
        return line == f"hash of {password.decode()}"

    def ask(self, name: str, password: bytes, client: int = 1) -> None:
        self.check.check(client, USERS, name, password, self.answers.append)

    def answer(self, name: str, password: bytes, client: int = 1) -> bool | None:
        self.answers.clear()
        self.ask(name, password, client)
        assert not self.answers, "it is answered later"
        until(self.loop, lambda: self.answers)
        return self.answers[0]


@pytest.fixture(params=["uvloop", "asyncio"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    loop = uvloop.new_event_loop() if request.param == "uvloop" else asyncio.new_event_loop()
    bench = Bench(loop)
    yield bench
    bench.gate.set()
    bench.check.close()
    loop.close()


def test_right_and_wrong(bench: Bench) -> None:
    assert bench.answer("alice", b"secret") is True
    assert bench.answer("alice", b"other") is False
    assert bench.answer("carol", b"other") is True
    (thread,) = bench.threads
    assert thread != threading.current_thread().name


def test_a_user_that_does_not_exist_is_looked_at_too(bench: Bench) -> None:
    assert bench.answer("mallory", b"secret") is False
    assert set(bench.looked_at) <= {*USERS.values()}
    assert bench.answer("mallory", b"secret", client=2) is False
    assert bench.answer("alice", b"secret") is True


def test_the_hash_looked_at_for_nobody_is_always_the_same(bench: Bench) -> None:
    for client in range(5):
        assert bench.answer("mallory", b"guess %d" % client) is False
    assert len(set(bench.looked_at)) == 1


def test_a_line_that_is_no_hash(bench: Bench) -> None:
    assert bench.answer("alice", b"broken") is False
    assert bench.answer("alice", b"secret") is True


def test_what_was_right_is_not_looked_at_again(bench: Bench) -> None:
    assert bench.answer("alice", b"secret") is True
    assert bench.answer("alice", b"secret", client=2) is True
    assert len(bench.looked_at) == 1
    assert bench.answer("bob", b"secret") is True
    assert len(bench.looked_at) == 2, "what is right for one says nothing of another"


def test_a_new_password_is_looked_at(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bench.answer("alice", b"secret") is True
    monkeypatch.setitem(USERS, "alice", "hash of new")
    assert bench.answer("alice", b"secret") is False
    monkeypatch.delitem(USERS, "alice")
    assert bench.answer("alice", b"secret") is False


def test_names_and_passwords_are_told_apart(bench: Bench) -> None:
    assert bench.answer("alice", b"secret") is True
    assert bench.answer("alices", b"ecret") is False


def test_few_are_remembered(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_check, "REMEMBERED", 1)
    assert REMEMBERED > 1
    for name in ("alice", "bob", "alice"):
        assert bench.answer(name, b"secret") is True
    assert len(bench.looked_at) == 3


def test_too_many_wrong_ones_of_a_client(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bench.answer("alice", b"secret", client=7) is True
    for _ in range(FAILURES):
        assert bench.answer("alice", b"wrong", client=7) is False
    assert bench.answer("alice", b"wrong", client=7) is None
    assert bench.answer("alice", b"secret", client=7) is None, "else guessing would be quick"
    assert bench.answer("alice", b"secret", client=8) is True
    monkeypatch.setattr(user_check, "MINUTE", 0.0)
    assert bench.answer("alice", b"secret", client=7) is True


def test_too_many_wrong_ones_in_all(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_check, "ALL_FAILURES", 3)
    bench.check = UserCheck(bench.loop, bench.verify)
    assert bench.answer("alice", b"secret") is True
    for client in range(3):
        assert bench.answer("alice", b"wrong", client=client) is False
    assert bench.answer("carol", b"other", client=9) is None
    assert bench.answer("alice", b"secret", client=9) is True, "it is remembered"
    for _ in range(FAILURES - 1):
        assert bench.answer("alice", b"guess", client=9) is None
    assert bench.answer("alice", b"secret", client=9) is None, "else guessing would be quick"


def test_who_asks_the_same_at_the_same_time_has_one_answer(bench: Bench) -> None:
    bench.gate.clear()
    for client in (1, 1, 2):
        bench.ask("alice", b"secret", client)
    for client in (*[1] * FAILURES, 3):
        bench.ask("alice", b"wrong", client)
    bench.gate.set()
    until(bench.loop, lambda: len(bench.answers) == 3 + FAILURES + 1)
    assert bench.answers == [True] * 3 + [False] * (FAILURES + 1)
    assert len(bench.looked_at) == 2
    assert bench.answer("bob", b"secret", 1) is True, "it has guessed once"
    for _ in range(FAILURES - 1):
        assert bench.answer("bob", b"guess", client=3) is False
    assert bench.answer("bob", b"guess", client=3) is None, "as often as any other"


def test_what_waits_is_a_guess_too(bench: Bench) -> None:
    bench.gate.clear()
    for guess in range(FAILURES + 5):
        bench.ask("alice", b"guess %d" % guess, client=1)
    until(bench.loop, lambda: len(bench.answers) == 5)
    assert set(bench.answers) == {None}
    bench.ask("alice", b"secret", client=2)
    bench.gate.set()
    until(bench.loop, lambda: len(bench.answers) == FAILURES + 5 + 1)
    assert bench.answers.count(True) == 1
    assert len(bench.looked_at) == FAILURES + 1


def test_clients_without_failures_are_forgotten(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_check, "ALL_FAILURES", 4)
    monkeypatch.setattr(user_check, "MINUTE", 1e9)
    bench.check = UserCheck(bench.loop, bench.verify)
    for client in range(50):
        bench.check._count(client, bench.loop.time())
    assert len(bench.check._of_client) <= 4


def test_few_wait_for_the_thread(bench: Bench) -> None:
    bench.gate.clear()
    for client in range(WAITING + 5):
        bench.ask("alice", b"%d" % client, client)
    until(bench.loop, lambda: len(bench.answers) == 5)
    assert set(bench.answers) == {None}
    bench.gate.set()
    until(bench.loop, lambda: len(bench.answers) == WAITING + 5)
    assert bench.answers.count(False) == WAITING


def test_without_users_nobody_has_a_password(bench: Bench) -> None:
    bench.check.check(1, {}, "alice", b"", bench.answers.append)
    until(bench.loop, lambda: bench.answers)
    assert bench.answers == [False]


def test_real_hashes(bench: Bench) -> None:
    line = str(hashed(b"secret", ln=4))
    assert verify(line, b"secret")
    assert not verify(line, b"other")
    bench.check = UserCheck(bench.loop)
    for name, password, good in (
        ("alice", b"secret", True),
        ("alice", b"wrong", False),
        ("bob", b"secret", False),
    ):
        bench.answers.clear()
        bench.check.check(1, {"alice": line}, name, password, bench.answers.append)
        until(bench.loop, lambda: bench.answers)
        assert bench.answers == [good]

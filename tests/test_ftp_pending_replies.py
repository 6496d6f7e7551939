"""Which replies are still to come, when servers do not count as RFC 959 does."""

from __future__ import annotations

import pytest

from faith.ftp.pending_replies import Debt


@pytest.fixture
def debt() -> Debt:
    """Of a server that has said hello."""
    debt = Debt()
    hear(debt, 220)
    return debt


def hear(debt: Debt, *codes: int) -> None:
    for code in codes:
        debt.hear(code)
        if code >= 200:
            debt.settle()


def add(debt: Debt, *verbs: bytes) -> None:
    for verb in verbs:
        debt.add(verb)


def test_the_greeting_is_owed_first() -> None:
    debt = Debt()
    assert debt
    hear(debt, 120)
    assert debt
    hear(debt, 220)
    assert not debt


def test_each_command_has_one_reply(debt: Debt) -> None:
    add(debt, b"TYPE", b"RETR")
    hear(debt, 200, 150)
    assert debt
    hear(debt, 226)
    assert not debt


def test_a_reply_to_nothing_is_not_counted(debt: Debt) -> None:
    hear(debt, 226)
    add(debt, b"NOOP")
    assert debt


@pytest.mark.parametrize(
    "replies",
    [(), (150,), (226,), (426,), (426, 226), (226, 225), (250, 500)],
    ids=str,
)
def test_an_abort_and_the_transfer_have_none_one_or_two(
    debt: Debt, replies: tuple[int, ...]
) -> None:
    add(debt, b"RETR")
    hear(debt, 150)
    add(debt, b"ABOR")
    hear(debt, *replies)
    add(debt, b"TYPE", b"NOOP")
    hear(debt, 200)
    assert debt
    hear(debt, 200)
    assert not debt


def test_a_second_abort_is_in_doubt_too(debt: Debt) -> None:
    add(debt, b"RETR")
    hear(debt, 150)
    add(debt, b"ABOR", b"ABOR", b"NOOP")
    hear(debt, 226, 200)
    assert not debt


def test_what_was_sent_before_an_abort_has_its_reply(debt: Debt) -> None:
    add(debt, b"RETR")
    hear(debt, 150)
    add(debt, b"TYPE", b"ABOR")
    hear(debt, 226, 200)
    assert debt
    hear(debt, 226)
    assert not debt


def test_forgiven(debt: Debt) -> None:
    add(debt, b"RETR", b"ABOR")
    debt.forgive()
    assert not debt
    add(debt, b"NOOP")
    hear(debt, 200)
    assert not debt

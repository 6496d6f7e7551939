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
        assert debt.settle(code)


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


ANY_CODE: frozenset[int] = frozenset()
PORT_CODES = frozenset((227, 229))


def after_transfer(debt: Debt, *replies: int) -> None:
    """A transfer during which the client sends NOOP, and goes on."""
    add(debt, b"RETR")
    hear(debt, 150)
    assert debt.under_way
    add(debt, b"NOOP")
    hear(debt, *replies)
    assert not debt.under_way
    debt.go_on()


def test_a_command_during_a_transfer_may_have_no_reply(debt: Debt) -> None:
    after_transfer(debt, 226)
    assert not debt
    assert not debt.settle(200, ANY_CODE)


def test_or_one_at_once(debt: Debt) -> None:
    after_transfer(debt, 200, 226)
    assert not debt
    assert not debt.settle(200, PORT_CODES)


def test_or_one_after_it(debt: Debt) -> None:
    after_transfer(debt, 226, 200)
    assert not debt
    assert not debt.settle(200, PORT_CODES)


def test_a_late_one_is_told_by_its_code(debt: Debt) -> None:
    after_transfer(debt, 226)
    assert debt.settle(200, PORT_CODES)
    assert not debt.settle(530, PORT_CODES)


def test_a_failure_is_not_taken_for_a_late_one(debt: Debt) -> None:
    after_transfer(debt, 226)
    assert not debt.settle(530, PORT_CODES)


def test_while_the_client_does_not_go_on_it_is_waited_for(debt: Debt) -> None:
    add(debt, b"RETR")
    hear(debt, 150)
    add(debt, b"NOOP")
    debt.go_on()
    hear(debt, 226)
    assert debt.settle(200, ANY_CODE)
    assert not debt.settle(200, ANY_CODE)


def test_ordinary_commands_behind_it_have_their_replies_first(debt: Debt) -> None:
    after_transfer(debt, 226)
    add(debt, b"TYPE")
    hear(debt, 200)
    debt.go_on()
    assert not debt.settle(200, ANY_CODE)


def test_a_transfer_that_follows_ends_the_waiting(debt: Debt) -> None:
    after_transfer(debt, 226)
    add(debt, b"RETR")
    hear(debt, 150, 226)
    assert not debt.settle(200, PORT_CODES)


def test_a_greeting_announced_is_no_transfer() -> None:
    debt = Debt()
    hear(debt, 120)
    assert not debt.under_way


def test_the_state_of_a_program_from_before() -> None:
    debt = Debt()
    debt.restore([2, 0, 1])
    assert debt.state() == [2, 0, 1, 0, 0]

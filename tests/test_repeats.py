"""Messages that are alike."""

from __future__ import annotations

from faith.daemon.observe.repeats import MOST, Repeats


def test_so_many_of_a_form_are_logged_in_a_second() -> None:
    repeats = Repeats()
    assert [repeats.admits("a %s", 5.0) for _ in range(MOST + 3)] == [True] * MOST + [False] * 3
    assert repeats.admits("b %s", 5.5), "another form"
    assert repeats.left_out
    assert not repeats.is_due(5.9)
    assert repeats.is_due(6.0)
    assert repeats.summary() == {"a %s": 3}
    assert not repeats.left_out
    assert repeats.admits("a %s", 6.0)


def test_fewer_are_never_left_out() -> None:
    repeats = Repeats()
    for second in range(3):
        assert all(repeats.admits("a %s", float(second)) for _ in range(MOST))
    assert not repeats.left_out
    assert repeats.summary() == {}


def test_nothing_is_forgotten_before_it_was_summed_up() -> None:
    repeats = Repeats()
    for _ in range(MOST + 1):
        repeats.admits("a %s", 0.0)
    repeats.admits("a %s", 10.0)
    assert repeats.summary() == {"a %s": 2}

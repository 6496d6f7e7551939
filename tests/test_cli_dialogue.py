from __future__ import annotations

import io
import os
import pty
import signal
import threading
from dataclasses import replace

import pytest

from faith.cli.setup import dialogue
from faith.cli.setup.questions import Question
from faith.errors import ConfigError, FaithError
from faith.lab import wait_until
from tests.setup_host import HOST


def accepts(host: object, answer: str) -> None:
    if answer == "bad":
        raise ConfigError("that will not do " + "at all " * 20)


PORTS = Question("ports", "Ports", "About ports.", lambda host, answers: "80", accepts)
MAPS = Question("maps", "Static map", "About maps.", check=accepts, repeated=True)
ANOTHER = Question(
    "tcp",
    "TCP timeout",
    "About time.",
    lambda host, answers: "60",
    applies=lambda host, answers: answers["ports"] == "80",
)
ONE, TWO = "192.0.2.102 2001:db8:6::2", "192.0.2.103 2001:db8:6::3"


@pytest.fixture(autouse=True)
def _questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialogue, "QUESTIONS", (PORTS, MAPS, ANOTHER))


def answer(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def test_an_empty_answer_is_what_was_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "", "", "")
    assert dialogue.by_asking(HOST) == {"ports": "80", "tcp": "60"}


def test_a_question_that_does_not_apply_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(monkeypatch, "443", "")
    assert dialogue.by_asking(HOST) == {"ports": "443"}
    told = capsys.readouterr()
    assert told.out == ""  # which is for the file
    assert "About ports.\nPorts [80]: " in told.err
    assert "About time." not in told.err


def test_one_that_is_repeated_goes_on_until_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(monkeypatch, "443", ONE, TWO, "")
    assert dialogue.by_asking(HOST)["maps"] == f"{ONE}\n{TWO}"
    assert capsys.readouterr().err.count("About maps.") == 1


def test_a_bad_answer_is_told_and_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(monkeypatch, "bad", "443", "bad", "")
    assert dialogue.by_asking(HOST) == {"ports": "443"}
    told = capsys.readouterr().err
    assert told.count("  that will not do") == 2
    assert told.count("\n  at all at all") + told.count("\n  all at all") >= 2  # it is wrapped


def test_the_end_of_the_answers_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "443")
    with pytest.raises(
        FaithError, match="standard input ended before the last answer; nothing was written"
    ):
        dialogue.by_asking(HOST)


def test_without_asking_it_is_what_was_proposed() -> None:
    assert dialogue.without_asking(HOST) == {"ports": "80", "tcp": "60"}


def test_what_was_proposed_may_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = replace(PORTS, proposal=lambda host, answers: "bad")
    monkeypatch.setattr(dialogue, "QUESTIONS", (bad,))
    with pytest.raises(ConfigError, match=r"^Ports: that will not do"):
        dialogue.without_asking(HOST)


@pytest.mark.parametrize(
    ("lines", "agreed"), [([""], True), (["yes"], True), (["no"], False), (["ja", "no"], False)]
)
def test_it_is_agreed_or_not(
    monkeypatch: pytest.MonkeyPatch, lines: list[str], agreed: bool
) -> None:
    answer(monkeypatch, *lines)
    assert dialogue.agreed("Write it?") is agreed


def test_ctrl_c_at_a_terminal_ends_the_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    with open(slave) as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        before = os.listdir("/proc/self/fd")

        def interrupt_once_it_waits() -> None:
            wait_until(lambda: len(os.listdir("/proc/self/fd")) > len(before), 5, "a wait")
            os.kill(os.getpid(), signal.SIGINT)

        once = threading.Thread(target=interrupt_once_it_waits)
        once.start()
        with pytest.raises(KeyboardInterrupt):
            dialogue.agreed("Write it?")
        once.join()
        assert os.listdir("/proc/self/fd") == before
    os.close(master)

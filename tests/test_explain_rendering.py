"""Explanations as text: plain in pipes, wrapped and in colour on terminals."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import faith
from faith.cli.explain import rendering
from faith.cli.explain.doctor import Check
from faith.cli.explain.walk import walk
from faith.daemon.config.decision import DecidingRule
from faith.translation.reasons import DENIED
from tests.explained import GOOD, decided


def test_a_pipe_gets_plain_lines() -> None:
    lines = list(rendering.lines(walk(GOOD)))
    assert lines[0] == "tcp from 2001:db8:6::2 to 192.0.2.80 port 80"
    assert any(line.startswith("access      ok") for line in lines)
    assert "--dial" in lines[-1]
    assert not any("\033" in line for line in lines)


def test_a_failure_names_its_cause() -> None:
    lines = list(rendering.lines(walk(replace(GOOD, daemons=()))))
    assert any("[no-daemon]" in line for line in lines)
    assert lines[-1].startswith("What to do: ")


def test_the_example_of_the_readme() -> None:
    rule = DecidingRule("2001:db8:6::/64 deny 192.0.2.0/24", 7)
    daemon = replace(GOOD.daemons[0], pid=4711, service="telnet")
    facts = replace(decided(GOOD, refused=DENIED, rule=rule), daemons=(daemon,))
    text = (Path(faith.__file__).parents[1] / "README.rst").read_text()
    wanted = ("daemon", "access", "does not work", "What to do", f"{' ' * 19}see: /etc/faithd.conf")
    shown = [line for line in rendering.lines(walk(facts)) if line.startswith(wanted)]
    assert len(shown) == 5
    assert all(f"    {line}\n" in text for line in shown)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.mark.usefixtures("terminal")
def test_a_terminal_gets_colours_unless_it_is_not_to(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rendering.is_coloured()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not rendering.is_coloured()
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not rendering.is_coloured()


@pytest.mark.usefixtures("terminal")
def test_lines_fit_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    size = os.terminal_size((60, 24))
    monkeypatch.setattr(rendering, "get_terminal_size", lambda: size)
    monkeypatch.setenv("NO_COLOR", "1")
    lines = list(rendering.lines(walk(GOOD)))
    assert max(map(len, lines)) <= 62  # a word that is longer stays whole


def test_checks_are_counted() -> None:
    good, bad = Check("clock", "ok", "right"), Check("tcp", "amiss", "wrong", "sysctl -w x=1")
    assert list(rendering.check_lines([good]))[-1] == "All 1 checks are good."
    lines = list(rendering.check_lines([good, bad]))
    assert "1 of 2" in lines[-1]
    assert any(line.endswith("do: sysctl -w x=1") for line in lines)

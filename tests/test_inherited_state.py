"""The state passed to the successor process: found by that process alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from faith.daemon.upgrade import inherited_state
from faith.daemon.upgrade.inherited_state import VARIABLE, InheritedState, demand, left
from faith.errors import SetupError
from faith.translation.prefix import RFC6052, Prefix


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def test_the_first_program_finds_nothing() -> None:
    assert InheritedState.found() is None


def test_the_next_program_in_the_process_finds_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(kept, True)
    with left({"a": [1, "two"], "p": [("2001:db8::/64", RFC6052)]}, [kept]) as (fd, environment):
        monkeypatch.setenv(VARIABLE, str(os.dup(fd)))
        assert environment[VARIABLE] == str(fd)
        found = InheritedState.found()
    assert found
    assert not found.on_trial
    assert found["a"] == [1, "two"]
    assert found.prefixes("p") == {Prefix.parse("2001:db8::/64", RFC6052)}
    assert not os.get_inheritable(kept)
    os.close(kept)
    assert InheritedState.found() is None


def test_a_child_is_on_trial_and_tells_systemd_nothing() -> None:
    program = (
        "import os; from faith.daemon.upgrade.inherited_state import InheritedState;"
        "found = InheritedState.found();"
        "print(found.on_trial, os.environ.get('NOTIFY_SOCKET'))"
    )
    with left({}, []) as (fd, environment):
        said = subprocess.check_output(
            [sys.executable, "-c", program],
            env={**environment, "NOTIFY_SOCKET": "@x"},
            pass_fds=[fd],
            text=True,
        )
    assert said == "True None\n"


@pytest.mark.parametrize("number", ["", "x", "9999", "0"])
def test_a_variable_of_somebody_else_is_nothing(
    monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    monkeypatch.setenv(VARIABLE, number if number != "0" else str(os.open(os.devnull, os.O_RDONLY)))
    assert InheritedState.found() is None
    assert VARIABLE not in os.environ


def test_what_was_left_to_another_process_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with left({}, []) as (fd, _):
        text = json.loads(os.pread(fd, 4096, 0))
    # Neither this process nor its parent, which is 1 or 0 in a container.
    text["pid"] = max(os.getpid(), os.getppid()) + 1
    fd = os.memfd_create("test")
    os.write(fd, json.dumps(text).encode())
    monkeypatch.setenv(VARIABLE, str(fd))
    assert InheritedState.found() is None


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with left({}, []) as (fd, _):
        monkeypatch.setenv(VARIABLE, str(os.dup(fd)))
        monkeypatch.setattr(inherited_state, "VERSION", inherited_state.VERSION + 1)
        with pytest.raises(SetupError, match="the inherited state has version"):
            InheritedState.found()


def test_what_must_be_the_same_is_demanded() -> None:
    before = {"ports": "80", "way": "auto"}
    demand(before, {"ports": "80", "way": "auto"})
    with pytest.raises(SetupError, match=r"ports: 80-81 instead of 80 \(restart faithd"):
        demand(before, {"ports": "80-81", "way": "auto"})

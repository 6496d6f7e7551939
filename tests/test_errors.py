"""Errors say what, where and what to do."""

from __future__ import annotations

import pytest

from faith.errors import (
    MOST,
    ConfigError,
    ConfigErrors,
    FaithError,
    PermissionNeeded,
    SetupError,
    lines_of,
    meant,
    raise_all,
)


def test_a_config_error_names_file_and_line() -> None:
    assert str(ConfigError("bad", "/etc/faithd.conf", 7)) == "/etc/faithd.conf:7: bad"
    assert str(ConfigError("bad", "/etc/faithd.conf")) == "/etc/faithd.conf: bad"
    assert str(ConfigError("bad")) == "bad"


def test_a_setup_error_names_step_reason_and_way_out() -> None:
    assert str(SetupError("bind", "in use", "stop it")) == "bind: in use (stop it)"
    assert str(SetupError("bind", "in use")) == "bind: in use"


def test_a_missing_capability_is_named() -> None:
    error = PermissionNeeded("load the program", "CAP_BPF", "CAP_NET_ADMIN")
    assert "CAP_BPF and CAP_NET_ADMIN" in str(error)
    assert error.capabilities == ("CAP_BPF", "CAP_NET_ADMIN")
    assert isinstance(error, FaithError)


def test_several_mistakes_are_one_error_with_a_line_each() -> None:
    one, other = ConfigError("no", "f", 3), ConfigError("nor this", "f", 5)
    with pytest.raises(ConfigError) as told:
        raise_all([one, other])
    assert str(told.value) == "f:3: no; 1 more mistake: faith check shows all"
    assert told.value.errors == (one, other)
    assert (told.value.message, told.value.file, told.value.line) == ("no", "f", 3)
    with pytest.raises(ConfigError) as told:
        raise_all([one])
    assert told.value is one
    assert one.errors == (one,)
    raise_all([])


def test_mistakes_are_shown_in_lines_and_not_without_end() -> None:
    assert lines_of(SetupError("step", "why")) == ["step: why"]
    assert lines_of(ConfigError("no", "f", 3)) == ["f:3: no"]
    many = ConfigErrors(ConfigError("no", "f", line) for line in range(1, MOST + 8))
    assert lines_of(many) == [*(f"f:{line}: no" for line in range(1, MOST + 1)), "and 7 more"]


def test_what_was_meant_is_guessed() -> None:
    assert meant("sesions", ["rate", "sessions"]) == "; is sessions meant?"
    assert meant("quux", ["rate", "sessions"]) == ""

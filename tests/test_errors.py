"""Errors say what, where and what to do."""

from __future__ import annotations

import pytest

from faith.errors import ConfigError, FaithError, PermissionNeeded, SetupError, raise_all


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
    assert str(told.value) == "f:3: no\nf:5: nor this"
    assert told.value.errors == (one, other)
    assert (told.value.message, told.value.file, told.value.line) == ("no", "f", 3)
    with pytest.raises(ConfigError) as told:
        raise_all([one])
    assert told.value is one
    assert one.errors == (one,)
    raise_all([])

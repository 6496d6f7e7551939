from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from faith.errors import ConfigError, PermissionNeeded
from faith.kernel.process import capabilities

if TYPE_CHECKING:
    from collections.abc import Iterable


def hold(monkeypatch: pytest.MonkeyPatch, names: Iterable[str]) -> None:
    monkeypatch.setattr(capabilities, "effective", lambda: frozenset(names))


@pytest.mark.parametrize(
    ("mask", "names"),
    [
        (0, set()),
        (1 << 12 | 1 << 39, {"CAP_NET_ADMIN", "CAP_BPF"}),
        (1 << 0 | 1 << 40, {"CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"}),
        (1 << 63, {"CAP_63"}),
    ],
)
def test_a_mask_is_read_as_names(mask: int, names: set[str]) -> None:
    assert capabilities._names(mask) == names


def test_what_is_missing_is_named_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    hold(monkeypatch, ["CAP_NET_ADMIN"])
    with pytest.raises(PermissionNeeded) as caught:
        capabilities.require("steer", "CAP_BPF", "CAP_NET_ADMIN", "CAP_NET_RAW")
    assert caught.value.capabilities == ("CAP_BPF", "CAP_NET_RAW")
    assert caught.value.step == "steer"


def test_what_is_there_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    hold(monkeypatch, ["CAP_NET_ADMIN", "CAP_BPF"])
    capabilities.require("steer", "CAP_BPF", "CAP_NET_ADMIN")
    capabilities.require("nothing")


def test_a_refusal_for_want_of_capabilities_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    hold(monkeypatch, ["CAP_NET_ADMIN"])
    denied = OSError(errno.EPERM, os.strerror(errno.EPERM))
    error = capabilities.refusal("load", denied, "CAP_BPF", "CAP_NET_ADMIN")
    assert isinstance(error, PermissionNeeded)
    assert error.capabilities == ("CAP_BPF",)


def test_a_refusal_in_spite_of_them_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    hold(monkeypatch, ["CAP_BPF"])
    denied = OSError(errno.EPERM, os.strerror(errno.EPERM))
    error = capabilities.refusal("load", denied, "CAP_BPF")
    assert not isinstance(error, PermissionNeeded)
    assert "with CAP_BPF held" in str(error)
    assert "user namespace" in error.hint


def test_another_refusal_keeps_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    hold(monkeypatch, [])
    error = capabilities.refusal("load", OSError(errno.ENOSPC, "no space"), "CAP_BPF")
    assert not isinstance(error, PermissionNeeded)
    assert str(error) == "load: no space"


def test_an_unknown_user_is_the_operators_mistake() -> None:
    with pytest.raises(ConfigError, match="no-such-user"):
        capabilities.drop("no-such-user")

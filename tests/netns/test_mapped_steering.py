"""The choice among the ways of steering mapped networks, and the errors when none is open."""

from __future__ import annotations

import os
from typing import Any

import pytest

from faith.errors import PermissionNeeded, SetupError
from faith.kernel.steering import mapped_steering
from faith.kernel.steering.lookup import Lookup
from tests.netns.rights import without_capabilities

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("private_network")]


def refuse(*anything: object) -> Any:
    raise SetupError("try", "not here")


@pytest.fixture
def without_bpf(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lookup, "create", refuse)


def test_each_worker_has_a_listener_on_the_same_port_of_loopback() -> None:
    with mapped_steering.create("tproxy", 3) as steering:
        assert [len(listeners) for listeners in steering.listeners] == [1, 1, 1]
        (one,) = {listener.getsockname() for (listener,) in steering.listeners}
        assert one[0] == "127.0.0.1"


def test_for_want_of_bpf_it_is_tproxy(without_bpf: None) -> None:
    with mapped_steering.create("auto", 1) as steering:
        assert steering.method == "tproxy"


def test_a_way_that_was_asked_for_is_the_only_one_tried(without_bpf: None) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(SetupError, match="try: not here"):
        mapped_steering.create("sk_lookup", 1)
    assert os.listdir("/proc/self/fd") == before


def test_every_reason_is_told_when_no_way_is_open(
    without_bpf: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped_steering, "_table", refuse)
    with pytest.raises(
        SetupError, match=r"no method works; sk_lookup: try: not here; tproxy: try: not here"
    ):
        mapped_steering.create("auto", 1)


def test_the_missing_right_is_named() -> None:
    with pytest.raises(PermissionNeeded, match="CAP_NET_ADMIN"):
        without_capabilities(lambda: mapped_steering.create("tproxy", 1))

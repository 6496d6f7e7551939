from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from faith.daemon.host.address_leases import AddressLeases
from faith.dns.options import Options
from faith.dns.service import Settings
from faith.errors import ConfigError, SetupError
from faith.kernel.descriptor import descriptors
from faith.kernel.netlink import routes
from tests.datagram.wires import number

if TYPE_CHECKING:
    from pathlib import Path

POOL = ((number("198.51.100.0"), 30),)
LENT, OTHER = number("198.51.100.1"), number("198.51.100.2")
HOST = number("2001:db8:6::2")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(routes, "own_ipv4", lambda: [(number("192.0.2.1"), 32)])
    return Settings(Options(()), pool=POOL, pool_file=tmp_path / "pool")


def lend(lent: AddressLeases, v4: int, v6: int) -> None:
    """As the name server does it."""
    assert lent._leases
    lent._leases.put(v4, v6, time.monotonic() + 60)


@pytest.mark.parametrize("without", ["dns", "pool"])
def test_without_a_pool_there_is_nothing(without: str, tmp_path: Path) -> None:
    lent = AddressLeases()
    lent.set_up(None if without == "dns" else Settings(Options(())), None)
    assert (lent.lease_file, lent.networks, lent.use(LENT)) == (None, (), None)
    assert descriptors(lent.state()) == []
    lent.close()
    assert not list(tmp_path.iterdir())


def test_what_is_lent_can_be_used_and_nothing_else(settings: Settings) -> None:
    lent = AddressLeases()
    lent.set_up(settings, None)
    assert lent.networks == POOL
    lend(lent, LENT, HOST)
    assert lent.use(LENT) == HOST
    assert lent.use(OTHER) is None
    assert lent.use(number("203.0.113.1")) is None
    lent.close()


def test_the_file_is_one_daemons_until_it_is_closed(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = AddressLeases(), AddressLeases()
    first.set_up(settings, None)
    second.set_up(settings, None)
    assert (second.lease_file, second.networks) == (None, ())
    assert "no address is lent until faithd is started anew" in caplog.text
    assert "another process lends by it" in caplog.text
    second.close()
    first.close()
    third = AddressLeases()
    third.set_up(settings, None)
    assert third.lease_file
    third.close()


def test_the_gateways_own_address_is_refused_before_there_is_a_file(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "own_ipv4", lambda: [(OTHER, 32)])
    with pytest.raises(
        ConfigError, match=r"pool 198\.51\.100\.0/30 has the gateway's own 198\.51\.100\.2$"
    ):
        AddressLeases().set_up(settings, None)
    assert not settings.pool_file.exists()


@pytest.mark.parametrize(("stale", "seconds"), [(0, 420), (600, 1050)])
def test_what_another_has_is_withheld_as_long_as_it_may_be_believed(
    settings: Settings, stale: int, seconds: int
) -> None:
    lent = AddressLeases()
    lent.set_up(replace(settings, stale=stale), None)
    lent.withhold([OTHER, number("203.0.113.1")])
    lent.close()
    assert f"198.51.100.2 ::198.51.100.2 {seconds}.000 " in settings.pool_file.read_text()
    again = AddressLeases()
    again.set_up(settings, None)
    lend(again, LENT, HOST)
    lend(again, OTHER, OTHER)  # as the name server does it with what is in the file
    assert (again.look(LENT), again.look(OTHER), again.use(OTHER)) == (HOST, None, None)
    again.close()


def test_without_a_pool_nothing_is_withheld() -> None:
    lent = AddressLeases()
    lent.set_up(None, None)
    lent.withhold([OTHER])
    assert lent.networks == ()


def test_the_next_program_goes_on_with_memory_and_file(settings: Settings) -> None:
    first, again = AddressLeases(), AddressLeases()
    first.set_up(settings, None)
    lend(first, LENT, HOST)
    left = json.loads(json.dumps(first.state()))
    assert descriptors(first.state()) == left["descriptors"]
    left["descriptors"] = [os.dup(fd) for fd in left["descriptors"]]
    again.set_up(settings, left)
    assert again.use(LENT) == HOST
    lend(first, OTHER, HOST)
    assert again.use(OTHER) == HOST
    first.close()
    another = AddressLeases()
    another.set_up(settings, None)
    assert another.lease_file is None
    again.close()


def test_the_next_program_cannot_have_another_pool(settings: Settings) -> None:
    first = AddressLeases()
    first.set_up(settings, None)
    others = (
        None,
        replace(settings, pool=((LENT, 32),)),
        replace(settings, pool_file=settings.pool_file.with_name("other")),
    )
    for other in others:
        with pytest.raises(SetupError, match=r"pool.* instead of"):
            AddressLeases().set_up(other, first.state())
    first.close()

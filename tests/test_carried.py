"""Settings that are carried to another process arrive as they were, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from faith.daemon.config import carried
from faith.daemon.config.carried import MapFields
from faith.datagram.ping.ping_server import PingSettings
from faith.errors import ConfigError
from faith.translation.map_table import Maps
from faith.translation.ports import Ports
from faith.translation.prefix import RFC6052, Prefix
from faith.translation.sources import Addresses, Source, Sources
from faith.translation.udp.flows import UdpSettings
from tests.test_map_table import one_map

if TYPE_CHECKING:
    from faith.translation.map import Map

ALL = 1 << 128
POOL = Addresses([(1 << 24, (1 << 24) + 7), (1 << 25, 1 << 25)])


@pytest.mark.parametrize(
    "settings",
    [
        PingSettings(),
        PingSettings(timeout=77.0, rate=3.5),
        UdpSettings(),
        UdpSettings(short_ports=Ports([(53, 53), (123, 130)]), flows=7),
        Prefix.parse("2001:db8:100::/40", RFC6052),
        Sources(),
        Sources(
            [
                Source([(0, 0)], POOL, 64),
                Source([(ALL - 8, 125), (ALL - 16, 128)], POOL, one_to_one=True, set_up=True),
            ]
        ),
    ],
)
def test_what_is_carried_is_what_arrives(settings: object) -> None:
    assert carried.loads(carried.dumps(settings), type(settings)) == settings


def test_what_is_no_such_settings_is_refused() -> None:
    with pytest.raises(ValueError, match=r"timeout"):
        carried.loads('{"timeout": "soon"}', PingSettings)


@given(one_map())
def test_a_map_arrives_as_it_was(one: Map) -> None:
    assert carried.loads(carried.dumps(Maps([one])), Maps) == Maps([one])


@given(one_map())
def test_a_map_has_its_file_only_where_it_is_shown(one: Map) -> None:
    assert "file" not in carried.dumps(MapFields.of(one))
    shown = carried.loads(carried.dumps(MapFields.of(one, "/etc/maps")), MapFields).map()
    assert (shown, shown.file) == (one, "/etc/maps")


def test_maps_that_contradict_each_other_are_refused() -> None:
    one = carried.dumps(MapFields((1 << 24, 32), (1 << 125, 128)))
    with pytest.raises(ConfigError, match="already"):
        carried.loads(f"[{one},{one}]", Maps)


@pytest.mark.parametrize(
    ("text", "kind"),
    [("[[80, 90]", Ports), ("[[80]]", Ports), ('["::", 96, "low32"]', Prefix), ("[{}]", Maps)],
)
def test_another_form_is_refused(text: str, kind: type[object]) -> None:
    with pytest.raises(ValueError, match=r"\$|truncated"):
        carried.loads(text, kind)


def test_other_types_are_not_carried() -> None:
    with pytest.raises(LookupError):
        carried.dumps(POOL)
    with pytest.raises(LookupError):
        carried.loads("[]", Addresses)

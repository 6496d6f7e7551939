"""Changes of the maps that are in no file."""

from __future__ import annotations

import pytest

from faith.daemon.config import runtime_maps, static_map
from faith.errors import ConfigError
from faith.translation.map_table import Maps


def read(*lines: str) -> Maps:
    return Maps(static_map.parse("\n".join(lines), "maps"))


ONE, TWO, THREE = (f"198.51.100.{host} 2001:db8::{host}" for host in (1, 2, 3))
BEFORE = read(ONE, TWO)
NOW = BEFORE.changed(static_map.parse(ONE), static_map.parse(THREE))


def left() -> str:
    return runtime_maps.state(BEFORE, NOW)


def test_the_next_program_has_them_too() -> None:
    resumed = runtime_maps.resumed(BEFORE, left())
    assert resumed == NOW
    assert [*map(str, runtime_maps.added(resumed))] == [THREE]


def test_what_is_saved_by_then_is_as_it_is_read() -> None:
    after = runtime_maps.resumed(read(THREE, TWO), left())
    assert [*map(str, after)] == [THREE, TWO]
    assert not runtime_maps.added(after)


def test_what_contradicts_the_files_of_now() -> None:
    with pytest.raises(ConfigError, match="already"):
        runtime_maps.resumed(read("198.51.100.3 2001:db8::9"), left())

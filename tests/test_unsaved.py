"""Changes of the maps that are in no file."""

from __future__ import annotations

import json

import pytest

from faith.daemon import mapping, unsaved
from faith.errors import ConfigError
from faith.translation.maps import Maps


def read(*lines: str) -> Maps:
    return Maps(mapping.parse("\n".join(lines), "maps"))


ONE, TWO, THREE = (f"198.51.100.{host} 2001:db8::{host}" for host in (1, 2, 3))
BEFORE = read(ONE, TWO)
NOW = BEFORE.changed(mapping.parse(ONE), mapping.parse(THREE))


def left() -> object:
    return json.loads(json.dumps(unsaved.state(BEFORE, NOW)))


def test_the_next_program_has_them_too() -> None:
    resumed = unsaved.resumed(BEFORE, left())
    assert resumed == NOW
    assert [*map(str, unsaved.added(resumed))] == [THREE]


def test_what_is_saved_by_then_is_as_it_is_read() -> None:
    after = unsaved.resumed(read(THREE, TWO), left())
    assert [*map(str, after)] == [THREE, TWO]
    assert not unsaved.added(after)


def test_what_contradicts_the_files_of_now() -> None:
    with pytest.raises(ConfigError, match="already"):
        unsaved.resumed(read("198.51.100.3 2001:db8::9"), left())

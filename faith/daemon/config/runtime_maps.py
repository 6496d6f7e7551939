"""Changes of the static maps that are in no file: kept by an upgrade, and ended by a reload."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from faith.daemon.config import static_map

if TYPE_CHECKING:
    from faith.translation.map import Map
    from faith.translation.map_table import Maps


def added(maps: Maps) -> list[Map]:
    """Those of the *maps* that are in no file."""
    return [one for one in maps if one.file is None]


def state(read: Maps, now: Maps) -> Any:
    """What has become of the maps that were *read* by *now*, for JSON."""
    there = set(now)
    gone = [static_map.dumped(one) for one in read if one not in there]
    return gone, [static_map.dumped(one) for one in added(now)]


def resumed(read: Maps, state: Any) -> Maps:
    """The maps that are *read*, with the changes of a `state`.

    Raises ConfigError for a map that contradicts what is read now.
    """
    gone, new = ([static_map.loaded(one) for one in some] for some in state)
    there = set(read)
    return read.changed(gone, [one for one in new if one not in there])

"""Static maps changed at run time, by ``faith map``: kept by an upgrade, dropped by a reload."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from faith.daemon.config import static_map

if TYPE_CHECKING:
    from faith.translation.map import Map
    from faith.translation.map_table import Maps


def added(maps: Maps) -> list[Map]:
    """Return the *maps* that are in no file."""
    return [one for one in maps if one.file is None]


def state(read: Maps, now: Maps) -> Any:
    """Return the difference between the maps *read* from files and those of *now*, for JSON."""
    there = set(now)
    gone = [static_map.dumped(one) for one in read if one not in there]
    return gone, [static_map.dumped(one) for one in added(now)]


def adopt(state: Any, read: Maps) -> Maps:
    """Return the maps *read* from files with the changes of a `state` applied.

    Raises ConfigError for a changed map that contradicts what is in the files now.
    """
    gone, new = ([static_map.loaded(one) for one in some] for some in state)
    there = set(read)
    return read.changed(gone, [one for one in new if one not in there])

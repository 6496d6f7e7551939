"""Static maps changed at run time, by ``faith map``: kept by an upgrade, dropped by a reload."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.daemon.config import carried
from faith.daemon.config.carried import MapFields

if TYPE_CHECKING:
    from faith.translation.map import Map
    from faith.translation.map_table import Maps


def added(maps: Maps) -> list[Map]:
    """Return the *maps* that are in no file."""
    return [one for one in maps if one.file is None]


def state(read: Maps, now: Maps) -> str:
    """Return the difference between the maps *read* from files and those of *now*, as text."""
    gone = [*map(MapFields.of, read.difference(now))]
    return carried.dumps((gone, [MapFields.of(one) for one in added(now)]))


def adopt(state: str, read: Maps) -> Maps:
    """Return the maps *read* from files with the changes of a `state` applied.

    Raises ConfigError for a changed map that contradicts what is in the files now.
    """
    changes = carried.loads(state, tuple[list[MapFields], list[MapFields]])
    gone, new = ([one.map() for one in some] for some in changes)
    return read.changed(gone, [one for one in new if one not in read])

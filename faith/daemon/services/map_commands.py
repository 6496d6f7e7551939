"""Commands of ``faith map`` on a running daemon: list, add and delete static maps (RFC 7757).

A change holds until the daemon reads its files again, unless it is saved in the file of the maps.
It is made as a whole, the file included, or not at all.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from faith.daemon.config import carried, map_file, static_map
from faith.daemon.config.carried import MapFields
from faith.daemon.observe.log import NOTICE
from faith.daemon.process.channel import in_memory
from faith.errors import ConfigError, FaithError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from faith.daemon.config.settings import Settings
    from faith.daemon.process.channel import Message
    from faith.daemon.process.control_socket import Request
    from faith.daemon.services.running_policy import RunningPolicy
    from faith.translation.map import Map
    from faith.translation.map_table import Maps

log = logging.getLogger("faith.supervisor")

SHOWN = 8
"""Of several maps, so many are told."""


class MapCommands:
    """The commands on the maps of *policy*; *settings* are those in force.

    While the files are *reread*, which may take a while, nothing can be changed: it would be lost.
    """

    def __init__(
        self, settings: Callable[[], Settings], policy: RunningPolicy, reread: Callable[[], bool]
    ) -> None:
        self._settings = settings
        self._policy = policy
        self._reread = reread

    @property
    def commands(self) -> Mapping[str, Callable[[Request], None]]:
        """Them by the names that they have at the control socket."""
        return {
            "maps": self.tell,
            "map": lambda request: self._carry_out(self._add, request),
            "unmap": lambda request: self._carry_out(self._delete, request),
        }

    def tell(self, request: Request) -> None:
        """Answer *request* by a file with a line of JSON for each map, and the file it is in."""
        maps = self._policy.inputs.maps
        lines = (carried.dumps(MapFields.of(one, one.file)) for one in maps)
        with in_memory("\n".join(lines)) as descriptor:
            request.tell({}, [descriptor])
        request.end()

    def _carry_out(
        self, change: Callable[[_Words], tuple[Map, Path | None]], request: Request
    ) -> None:
        try:
            if self._reread():
                raise FaithError("it is reading its files again; ask once more")
            one, file = change(_Words.of(request.words))
        except FaithError as error:
            request.fail(error)
        else:
            request.answer(map=str(one), file=file and str(file))

    def _add(self, words: _Words) -> tuple[Map, Path | None]:
        file = self._file() if words.save else None
        one = static_map.of_words(words.v4, words.v6, words.options, str(file) if file else None)
        inputs = self._policy.inputs
        there = inputs.maps.get(one)
        unsaved = [there] if file and there and not there.file else []
        maps = inputs.maps.changed(unsaved, [one])
        inputs.check([one])
        with _saved(file, map_file.more, one):
            self._policy.apply_maps(maps)
        log.log(NOTICE, "map added: %s, in %s", one, file or "no file")
        return one, file

    def _delete(self, words: _Words) -> tuple[Map, Path | None]:
        maps = self._policy.inputs.maps
        one = words.only(maps)
        file = self._file() if words.save and one.file else None
        if file and one.file != str(file):
            raise ConfigError(f"{one} is in {one.file}; delete it there")
        with _saved(file, map_file.less, one):
            self._policy.apply_maps(maps.changed([one], []))
        left = Path(one.file) if one.file and not file else None
        log.log(NOTICE, "map deleted: %s, still in %s", one, left or "no file")
        return one, left

    def _file(self) -> Path:
        file = self._settings().maps_file
        if file is None:
            raise ConfigError("there is no file to save it in: faith.toml(5) names it in [maps]")
        return file


@dataclass(frozen=True)
class _Words:
    """The fields of a request that describe a map, and whether to *save* the change."""

    v4: str
    v6: str
    options: Mapping[str, str]
    save: bool

    @classmethod
    def of(cls, words: Message) -> _Words:
        """Read the *words* of a request; a missing field is empty."""
        options = words.get("options")
        said = {} if not isinstance(options, dict) else {k: str(v) for k, v in options.items()}
        return cls(
            str(words.get("v4", "")), str(words.get("v6", "")), said, bool(words.get("save"))
        )

    def only(self, maps: Maps) -> Map:
        """The map of which this is true.  Raises ConfigError if there are none or several."""
        v4, values = static_map.network4(self.v4), static_map.values(self.options)
        if self.v6:
            values["v6"] = static_map.network6(self.v6)
        found = [
            one
            for one in maps
            if one.v4 == v4 and all(getattr(one, key) == value for key, value in values.items())
        ]
        if not found:
            raise ConfigError(f"there is no such map of {self.v4}")
        if len(found) > 1:
            shown = "; ".join(map(str, found[:SHOWN]))
            raise ConfigError(f"{len(found)} maps are such; say more of one: {shown}")
        return found[0]


@contextmanager
def _saved(file: Path | None, change: Callable[[str, Map], str], one: Map) -> Iterator[None]:
    """The *change* by *one* is in the *file*, if there is one, when the block has ended well."""
    if file is None:
        yield
        return
    with map_file.rewritten(file, change(map_file.text(file), one)):
        yield

"""Map commands in the supervisor; tests/netns/test_map_commands.py asks a real daemon."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from faith.daemon.config import static_map
from faith.daemon.config.policy import PolicyInputs, Rules
from faith.daemon.services.map_commands import MapCommands
from faith.errors import ConfigError
from faith.translation.map_table import Maps

LINES = """
198.51.100.1 2001:db8::1
198.51.100.2 2001:db8::2 ports=80
198.51.100.2 2001:db8::3 ports=25 protocols=tcp
"""


class Asked:
    """The commands on the maps of LINES, one of which is saved in no file."""

    def __init__(self, file: Path | None = None, *, reread: bool = False) -> None:
        maps = Maps(
            [*static_map.parse(LINES, str(file)), *static_map.parse("198.51.100.9 2001:db8::9")]
        )
        self.policy = SimpleNamespace(
            inputs=PolicyInputs(Rules("", ""), (), (), maps), apply_maps=self._apply
        )
        settings = SimpleNamespace(maps_file=file)
        self.commands = MapCommands(
            lambda: settings,  # type: ignore[arg-type, return-value]
            self.policy,  # type: ignore[arg-type]
            lambda: reread,
        ).commands

    def _apply(self, maps: Maps) -> None:
        self.policy.inputs = PolicyInputs(Rules("", ""), (), (), maps)

    @property
    def maps(self) -> list[str]:
        return [*map(str, self.policy.inputs.maps)]

    def __call__(self, command: str, **words: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        request = SimpleNamespace(
            words=words,
            answer=lambda **fields: found.update(fields),
            fail=lambda why: found.update(error=str(why)),
        )
        self.commands[command](request)  # type: ignore[arg-type]
        return found


def test_one_more_and_one_less() -> None:
    asked = Asked()
    before = asked.maps
    said = asked("map", v4="198.51.100.7", v6="2001:db8::7", options={"ports": "80"})
    assert said == {"map": "198.51.100.7 2001:db8::7 ports=80", "file": None}
    assert asked.maps == [*before, said["map"]]
    assert asked("unmap", v4="198.51.100.7")["map"] == said["map"]
    assert asked.maps == before


def test_what_is_still_in_a_file_is_told() -> None:
    asked = Asked(Path("/etc/maps"))
    assert asked("unmap", v4="198.51.100.1")["file"] == "/etc/maps"
    assert asked("unmap", v4="198.51.100.9")["file"] is None


@pytest.mark.parametrize(
    ("words", "gone"),
    [
        ({"v6": "2001:db8::3"}, "198.51.100.2 2001:db8::3 protocols=tcp ports=25"),
        ({"options": {"ports": "80"}}, "198.51.100.2 2001:db8::2 ports=80"),
        ({"options": {"protocols": "tcp"}}, "198.51.100.2 2001:db8::3 protocols=tcp ports=25"),
    ],
)
def test_of_several_the_one_that_is_meant_goes(words: dict[str, Any], gone: str) -> None:
    assert Asked()("unmap", v4="198.51.100.2", **words)["map"] == gone


@pytest.mark.parametrize(
    ("command", "words", "says"),
    [
        ("unmap", {"v4": "198.51.100.2"}, "2 maps are such; say more of one: 198"),
        ("unmap", {"v4": "198.51.100.2", "options": {"ports": "1"}}, "there is no such map"),
        ("unmap", {}, "'' is not an IPv4 address"),
        ("map", {"v4": "198.51.100.1"}, "'' is not an IPv6 address"),
        ("map", {"v4": "198.51.100.1", "v6": "2001:db8::9"}, "stands for 2001:db8::1 already"),
        ("map", {"v4": 7, "v6": {}, "options": 3}, "'7' is not an IPv4 address"),
        ("map", {"v4": "198.51.100.7", "v6": "2001:db8::7", "options": {"x": 1}}, "'x' is none"),
        ("map", {"v4": "198.51.100.7", "v6": "2001:db8::7", "save": True}, "there is no file"),
    ],
)
def test_a_bad_one_changes_nothing(command: str, words: dict[str, Any], says: str) -> None:
    asked = Asked()
    before = asked.maps
    assert says in asked(command, **words)["error"]
    assert asked.maps == before


def test_nothing_changes_while_the_files_are_read_again() -> None:
    asked = Asked(reread=True)
    before = asked.maps
    assert "ask once more" in asked("map", v4="198.51.100.7", v6="2001:db8::7")["error"]
    assert "ask once more" in asked("unmap", v4="198.51.100.1")["error"]
    assert asked.maps == before


def test_what_cannot_be_saved_is_not_done(tmp_path: Path) -> None:
    file = tmp_path / "maps"
    file.write_text(LINES)
    asked = Asked(file)
    before = asked.maps

    def fails(maps: Maps) -> None:
        raise ConfigError("the kernel would not")

    asked.policy.apply_maps = fails
    said = asked("map", v4="198.51.100.7", v6="2001:db8::7", save=True)
    assert said == {"error": "the kernel would not"}
    assert (asked.maps, file.read_text()) == (before, LINES)

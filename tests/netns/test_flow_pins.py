from __future__ import annotations

import os
import stat
import subprocess
from typing import TYPE_CHECKING

import pytest

from faith.kernel.bpf import bpf
from faith.kernel.bpf.bpf import Map
from faith.kernel.flow.flow_pins import Pins, is_bpf

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("bpf_allowed")]


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    subprocess.run(["mount", "-t", "bpf", "bpf", tmp_path], check=True)
    yield tmp_path / "some" / "where"
    subprocess.run(["umount", tmp_path], check=True)


def test_an_object_is_found_again_after_its_descriptor_is_closed(directory: Path) -> None:
    pins = Pins(directory)
    pins.prepare()
    with Map.create(bpf.MAP_HASH, "test", key=4, value=4, entries=3) as one:
        pins.add("one", one)
        one.update(b"key1", b"val1")
    with Map(pins.get("one")) as again:
        assert list(again.keys(4)) == [b"key1"]
        assert again.entries() == 3
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert list(pins.names()) == ["one"]


def test_names_go_one_by_one_or_all_at_once(directory: Path) -> None:
    pins = Pins(directory)
    pins.clear()
    pins.prepare()
    with Map.create(bpf.MAP_HASH, "test", key=4, value=4, entries=3) as one:
        for name in ("one", "two"):
            pins.add(name, one)
    pins.remove("one")
    pins.remove("one")
    assert list(pins.names()) == ["two"]
    with pytest.raises(FileNotFoundError):
        pins.get("one")
    pins.prepare()
    assert list(pins.names()) == []
    pins.clear()
    assert not os.path.exists(directory)


def test_a_file_system_of_bpf_is_told_from_others(directory: Path) -> None:
    assert is_bpf(directory.parents[1])
    assert is_bpf(directory / "not" / "there")
    assert not is_bpf(directory.parents[2])
    assert not is_bpf(directory.parents[2] / "not" / "there")

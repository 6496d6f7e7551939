"""The program's source: its objects are built from it, and it declares what Python declares."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from faith.kernel.flow import layout
from faith.kernel.flow.map_kinds import COUNTERS, MOST_COUNTERS, kinds
from tests.conftest import do_without

ROOT = Path(__file__).parents[1]
ROOM = ROOT / "faith" / "kernel" / "flow"
BUILD = ROOT / "scripts" / "build-flow"
SOURCE = (ROOM / "flow.bpf.c").read_text()


def enumerated(name: str) -> dict[str, int]:
    """The names and numbers of ``enum NAME``."""
    (body,) = re.findall(rf"enum {name} {{(.*?)}};", SOURCE, re.DOTALL)
    found: dict[str, int] = {}
    last = -1
    for each in body.replace("\n", " ").split(","):
        if each.strip():
            word, _, value = each.partition("=")
            last = int(value) if value else last + 1
            found[word.strip()] = last
    return found


def test_the_objects_are_what_the_source_makes(tmp_path: Path) -> None:
    version = subprocess.run([BUILD, "--version"], capture_output=True, text=True, check=True)
    wanted = version.stdout.strip()
    if not shutil.which("clang"):
        do_without("clang is not installed")
    found = subprocess.run(["clang", "--version"], capture_output=True, text=True, check=True)
    if f"version {wanted}" not in found.stdout:
        pytest.skip(f"clang is not {wanted}, which the objects are made by")
    subprocess.run([BUILD, tmp_path], check=True)
    for name in ("flow.bpfel.o", "flow.bpfeb.o"):
        assert (tmp_path / name).read_bytes() == (ROOM / name).read_bytes(), (
            f"{name} is not made of flow.bpf.c: run scripts/build-flow and commit it"
        )


def test_counters_are_in_the_same_order() -> None:
    named = enumerated("counter")
    assert named.pop("COUNTERS") == MOST_COUNTERS
    named["SUSPECT"] = named.pop("SUSPECTED")  # the other is a bit of the state
    expected = {name.upper(): number for number, name in enumerate(COUNTERS)}
    assert named == expected


def test_kinds_and_states_are_the_same_numbers() -> None:
    for name in ("kind", "state"):
        named = enumerated(name)
        assert named
        assert named == {each: getattr(layout, each) for each in named}
    (tag,) = re.findall(r"TAG_SYN = (\w+)", SOURCE)
    assert int(tag, 16) == layout.TAG_SYN
    (packet,) = re.findall(r"\bPACKET = (\d+)", SOURCE)
    assert int(packet) == layout.PACKET


def test_the_maps_are_those_that_are_made() -> None:
    (names,) = re.findall(r"extern char ([^;]*);", SOURCE)
    assert set(names.split(", ")) == kinds(1).keys()


def test_lines_fit_a_screen() -> None:
    wide = [line for line in SOURCE.splitlines() if len(line.expandtabs(8)) > 100]
    assert wide == []

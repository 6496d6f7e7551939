"""The files of the Debian package, as far as they tell something without being built.

scripts/try-package tries the package itself, in tests/trial/.
"""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from faith.cli import faith, faithd
from faith.version import VERSION
from tests.units import UNITS

ROOT = Path(__file__).parents[1]
DEBIAN = ROOT / "packaging/debian"
RULES = (DEBIAN / "rules").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SCRIPTS = ["postinst", "prerm", "postrm"]
FLOORS = dict(one.split(">=") for one in PROJECT["dependencies"])


def debian_name(library: str) -> str:
    return f"python3-{library.replace('_', '-')}"


def numbers(version: str) -> list[int]:
    return [int(number) for number in version.split(".")]


@pytest.mark.parametrize("script", SCRIPTS)
def test_maintainer_scripts_are_sound(script: str) -> None:
    path = DEBIAN / f"faithd.{script}"
    text = path.read_text()
    assert text.startswith("#!/bin/sh\nset -e\n")
    assert "\n#DEBHELPER#\n" in text
    subprocess.run(["sh", "-n", path], check=True)


def test_the_changelog_has_this_version() -> None:
    first = (DEBIAN / "changelog").read_text().splitlines()[0]
    assert re.fullmatch(rf"faithd \({re.escape(VERSION)}-\d+\) \w+; urgency=\w+", first)


@pytest.mark.parametrize(("program", "main"), [("faith", faith.main), ("faithd", faithd.main)])
def test_programs_import_what_is_theirs_alone(program: str, main: object) -> None:
    text = (DEBIAN / "programs" / program).read_text()
    assert 'sys.path[0] = "/usr/lib/faithd"' in text
    (module,) = re.findall(r"^from (\S+) import main$", text, re.MULTILINE)
    assert {"faith.cli.faith": faith.main, "faith.cli.faithd": faithd.main}[module] is main


def test_debian_13_has_each_library_in_the_version_that_is_needed() -> None:
    needed = RULES.partition("else\n")[2].partition("endif")[0]
    for library, floor in FLOORS.items():
        assert f"{debian_name(library)} (>= {floor})" in needed


def test_debian_12_has_each_library_or_it_is_built_in() -> None:
    needed = RULES.partition("ifeq ($(release),bookworm)")[2].partition("else\n")[0]
    (bundled,) = re.findall(r"^bundled := (.*)$", needed, re.MULTILINE)
    pinned = dict(
        re.findall(r"^([a-z]+)==(\S+) ", (DEBIAN / "bundled.txt").read_text(), re.MULTILINE)
    )
    assert pinned.keys() == {*bundled.split(), "setuptools"}
    for library, floor in FLOORS.items():
        if library in pinned:
            assert numbers(pinned[library]) >= numbers(floor)
        else:
            assert f"{debian_name(library)} (>= {floor})" in needed


def test_licences_of_all_that_is_built_in_are_there() -> None:
    pinned = re.findall(r"^([a-z]+)==", (DEBIAN / "bundled.txt").read_text(), re.MULTILINE)
    text = (DEBIAN / "copyright").read_text()
    assert [name for name in pinned if f"Files: bundled/{name}-*\n" not in text] == []


def test_a_removal_stops_every_unit() -> None:
    script = (DEBIAN / "faithd.prerm").read_text()
    for unit in UNITS:
        assert unit.name.replace("@.", "@*.") in script


def test_an_upgrade_replaces_running_daemons() -> None:
    script = (DEBIAN / "faithd.postinst").read_text()
    assert "faith upgrade --if-running" in script
    assert "restart faithd" not in script, "a restart ends sessions"
    assert script.index("#DEBHELPER#") < script.index("faith upgrade"), "modules are compiled first"


def test_every_unit_calls_programs_that_the_package_moves() -> None:
    for unit in UNITS:
        commands = re.findall(r"^Exec\w+=-?(\S+)", unit.read_text(), re.MULTILINE)
        assert {*commands} <= {"/usr/local/bin/faith", "/usr/local/bin/faithd", "/bin/sh"}

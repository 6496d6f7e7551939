"""Commands whose libraries are not installed say which, and how to get them."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import pytest

from faith.cli import extras, faith
from faith.errors import FaithError


def test_libraries_that_are_there_are_enough() -> None:
    extras.require("demo", "json", "email")


def test_missing_ones_are_named_with_the_way_to_install_them() -> None:
    with pytest.raises(FaithError) as raised:
        extras.require("demo", "json", "no_such_one", "no_such_other")
    assert str(raised.value) == (
        "faith demo needs no_such_one and no_such_other: pip install no_such_one no_such_other,"
        " or Debian's python3-no_such_one python3-no_such_other"
    )


def test_the_demo_does_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without(name: str) -> object:
        return None if name == "pyroute2" else find_spec(name)

    monkeypatch.setattr("faith.cli.extras.find_spec", without)
    monkeypatch.delitem(sys.modules, "faith.cli.demo.story", raising=False)
    assert faith.main(["demo"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("faith: faith demo needs pyroute2: pip install pyroute2")
    assert "faith.cli.demo.story" not in sys.modules, "it would have been imported in vain"

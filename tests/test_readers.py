from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from faith.daemon.config import readers
from faith.errors import ConfigError


@pytest.mark.parametrize(
    ("read", "value", "found"),
    [
        (readers.text, "x", "x"),
        (readers.flag, True, True),
        (readers.flag, False, False),
        (readers.path, "/run/x", Path("/run/x")),
        (readers.seconds, 0, 0.0),
        (readers.seconds, 999_999.5, 999_999.5),
        (readers.number, 1e300, 1e300),
        (readers.whole(1, 3), 1, 1),
        (readers.whole(1, 3), 3, 3),
        (readers.choice(["a", "b"]), "b", "b"),
        (readers.parsed(int), "12", 12),
        (readers.several(readers.text), ["a", "b"], ("a", "b")),
        (readers.several(readers.text), [], ()),
    ],
)
def test_a_good_value(read: Any, value: Any, found: Any) -> None:
    assert read(value) == found
    assert type(read(value)) is type(found)


@pytest.mark.parametrize(
    ("read", "value", "says"),
    [
        (readers.text, "", "'' is not a text that says something"),
        (readers.text, "a\0", r"'a\\x00' is not a text without NUL"),
        (readers.path, "/a\0", r"'/a\\x00' is not a text without NUL"),
        (readers.text, 1, "1 is not a text in quotes"),
        (readers.text, True, "true is not a text in quotes"),
        (readers.flag, 1, "1 is not true or false"),
        (readers.flag, "true", "'true' is not true or false"),
        (readers.path, "run/x", "'run/x' is not an absolute path|run/x.* is not an absolute path"),
        (readers.path, 7, "7 is not a text in quotes"),
        (readers.seconds, 1_000_000, "1000000 is not a number of seconds below a million"),
        (readers.seconds, -1, "-1 is not a number from 0"),
        (readers.number, -0.5, "-0.5 is not a number from 0"),
        (readers.number, float("inf"), "inf is not a number from 0"),
        (readers.number, float("nan"), "nan is not a number from 0"),
        (readers.number, False, "false is not a number from 0"),
        (readers.number, "1", "'1' is not a number from 0"),
        (readers.whole(1, 3), 0, "0 is not a number from 1 to 3"),
        (readers.whole(1, 3), 4, "4 is not a number from 1 to 3"),
        (readers.whole(1, 3), 2.0, "2.0 is not a whole number"),
        (readers.whole(0, 3), True, "true is not a whole number"),
        (readers.choice(["route", "tproxy"]), "tpoxy", "one of route, tproxy; is tproxy meant"),
        (readers.choice(["route", "tproxy"]), "x", "'x' is not one of route, tproxy$"),
        (readers.several(readers.text), "a", "'a' is not a list in brackets"),
    ],
)
def test_a_bad_value_is_told_with_what_is_wanted(read: Any, value: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read(value)


def test_an_element_of_a_list_is_told_by_its_place() -> None:
    with pytest.raises(ConfigError, match="0 is not a number from 1 to 9") as error:
        readers.several(readers.whole(1, 9))([1, 0, 0])
    assert error.value.line == 2


def test_no_path_is_none() -> None:
    assert readers.path_or_none("none") is None
    assert readers.path_or_none(False) is None
    assert str(readers.path_or_none("/x")) == "/x"


def test_a_user_is_of_this_system(monkeypatch: pytest.MonkeyPatch) -> None:
    assert readers.user("root") == "root"
    with pytest.raises(ConfigError, match=r"there is no user 'rooot' .*; is root meant\?"):
        readers.user("rooot")

    def fail(file: str) -> str:
        raise PermissionError

    monkeypatch.setattr(readers, "read_leniently", fail)
    with pytest.raises(ConfigError, match=r"there is no user 'rooot' on this system$"):
        readers.user("rooot")

"""Every mistake in faith.toml names its file, line and key, whatever the key and the mistake."""

from __future__ import annotations

import re

import pytest

from faith.daemon.config import config
from faith.errors import ConfigError

WRONG = [
    "true",
    "-1",
    "1e400",
    '""',
    '"\\u0000"',
    '"b\u00a0d"',
    "[1]",
    "[[]]",
    '["x\\ty", "“"]',
    "{}",
]
"""Values of every kind; each is wrong for most keys, and none is what a key needs."""
NEEDED = {
    "prefix": ('address = "64:ff9b::/96"', {"address"}),
    "service": ('ports = "80"', {"ports"}),
    "map": ('v4 = "198.51.100.1"\nv6 = "2001:db8::1"', {"v4", "v6"}),
    "source": ('addresses = ["198.51.100.1"]', {"addresses"}),
    "proxy": ('listen = ":1080"', {"listen"}),
    "dns": ('pool = ["198.51.100.0/24"]', {"pool"}),
}
SERVICE = '[[service]]\nports = "443"\n'


CASES = [(table, key) for table, keys in config.KEYS.items() for key in keys]


def document(table: str, key: str, value: str) -> tuple[str, int]:
    """Return a file that is right but for one key, and the line of that."""
    if not table:
        return f"{key} = {value}\n{SERVICE}", 1
    header = f"[[{table}]]" if table in config.SEVERAL else f"[{table}]"
    needed, names = NEEDED.get(table, ("", set()))
    lines = [header]
    lines += [line for line in needed.split("\n") if line and not line.startswith(f"{key} =")]
    assert key not in names or len(lines) < 1 + len(names)
    lines.append(f"{key} = {value}")
    return "\n".join(lines) + f"\n{SERVICE}", len(lines)


@pytest.mark.parametrize(("table", "key"), CASES)
def test_a_wrong_value_is_told_with_its_key_and_line(table: str, key: str) -> None:
    wrong = 0
    for value in WRONG:
        text, line = document(table, key, value)
        try:
            config.read(text, "faith.toml")
        except ConfigError as error:
            wrong += 1
            for one in error.errors:
                assert (one.file, one.line) == ("faith.toml", line), (value, str(one))
                name = ".".join(filter(None, (table, key)))
                assert one.message.startswith(f"{name}: "), (value, str(one))
                assert len(one.message) > len(name) + 10
    assert wrong >= len(WRONG) // 2


@pytest.mark.parametrize(("table", "key"), CASES)
def test_a_misspelt_key_is_told_with_what_was_meant(table: str, key: str) -> None:
    text, line = document(table, f"{key}x", "1")
    with pytest.raises(ConfigError) as told:
        config.read(text, "faith.toml")
    about = [one for one in told.value.errors if one.line == line]
    assert about
    assert re.search(rf"{key}x: no such key; is \w+ meant\?", about[0].message)


@pytest.mark.parametrize("table", [table for table in config.KEYS if table])
def test_a_misspelt_table_is_told_with_what_was_meant(table: str) -> None:
    with pytest.raises(ConfigError, match=rf"^faith.toml:3: {table}s?x: no such key; is {table}"):
        config.read(f"{SERVICE}[{table}x]\n", "faith.toml")


@pytest.mark.parametrize("table", sorted(filter(None, config.KEYS)))
@pytest.mark.parametrize("beside", ["", SERVICE.replace("443", "8443")])
def test_a_table_in_the_shape_of_another_is_the_only_mistake(table: str, beside: str) -> None:
    several = table in config.SEVERAL
    header = f"[{table}]" if several else f"[[{table}]]"
    body, _ = NEEDED.get(table, ("", set()))
    beside = beside if table != "service" else ""
    with pytest.raises(ConfigError) as caught:
        config.read(f"{header}\n{body}\n{beside}", "faith.toml")
    (error,) = caught.value.errors
    meant = f"there can be several: [[{table}]]" if several else f"it is a table: [{table}]"
    assert (error.line, error.message) == (1, f"{table}: {meant}")


@pytest.mark.parametrize("header", ["[[servise]]", "[[proxi]]", "[maap]"])
def test_a_misspelt_table_is_not_told_to_be_missing(header: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.read(f"{header}\n", "faith.toml")
    (error,) = caught.value.errors
    assert "no such key; is " in error.message


def test_a_misspelt_key_does_not_hide_that_there_is_nothing_to_relay() -> None:
    with pytest.raises(ConfigError) as caught:
        config.read("workrs = 2\n", "faith.toml")
    assert sorted(error.line or 0 for error in caught.value.errors) == [0, 1]

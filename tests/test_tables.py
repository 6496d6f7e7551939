from __future__ import annotations

import pytest

from faith.daemon.config import readers
from faith.daemon.config.tables import Document
from faith.errors import ConfigError

KEYS = {"": ["workers", "user"], "access": ["file", "rules"], "service": ["ports", "via"]}
TEXT = """\
workers = 2

[access]
rules = [
    "one",
    "",
]

[[service]]
ports = "80"

[[service]]
ports = "443"
via = "route"
"""


def document(text: str = TEXT) -> Document:
    return Document(text, "faith.toml", KEYS, ["service"])


def test_values_are_read_where_they_are_and_else_the_default() -> None:
    read = document()
    number = readers.whole(1, 9)
    assert read.top.take("workers", number, 7) == 2
    assert read.top.take("user", readers.text, "nobody") == "nobody"
    assert read.top.need("workers", number) == 2
    assert [one.take("via", readers.text, "auto") for one in read.tables("service")] == [
        "auto",
        "route",
    ]
    assert "file" not in read.table("access")
    assert "rules" in read.table("access")
    assert read.top.file == read.table("access").file == "faith.toml"


def test_a_table_that_is_not_there_is_empty() -> None:
    read = document("")
    assert "rules" not in read.table("access")
    assert read.table("access").take("file", readers.text, "none") == "none"
    assert read.tables("service") == []


def told(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as error:
        document(text).finish()
    assert error.value.file == "faith.toml"
    return error.value


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("\nworkers = \n", 2, "Invalid value"),
        ("\nuser = 'x'\nworkrs = 2\n", 3, "workrs: no such key; is workers meant?"),
        ("[acces]\nfile = 'x'\n", 1, "acces: no such key; is access meant?"),
        ("ports = '80'\n", 1, "ports: no such key here; it belongs in [service]"),
        ("[access]\nworkers = 2\n", 2, "access.workers: no such key here; it belongs at the top"),
        ("[service]\nport = '80'\n", 1, "service: there can be several"),
        ("[access]\nrule = []\n", 2, "access.rule: no such key; is rules meant?"),
        ("[access]\nfil = 'x'\n", 2, "access.fil: no such key; is file meant?"),
        ("[access]\nq = 1\n", 2, "access.q: no such key; there are file, rules"),
        ("[access]\nservic = 1\n", 2, "access.servic: no such key; there are file, rules"),
        ("\n[service]\n", 2, "service: there can be several: [[service]]"),
        ("access = 1\n", 1, "access: it is a table: [access]"),
        ("\n[service]\nports = '1'\n", 2, "service: there can be several: [[service]]"),
        ("service = [1]\n", 1, "service: there can be several: [[service]]"),
        ("[[service]]\nports = '1'\n[[service]]\nport = '2'\n", 4, "is ports meant?"),
    ],
)
def test_every_mistake_has_its_line_and_likely_meaning(text: str, line: int, says: str) -> None:
    error = told(text)
    assert error.line == line
    assert says in error.message


def test_a_bad_value_is_told_with_its_key_and_line() -> None:
    read = document()
    with pytest.raises(ConfigError, match="workers: 2 is not a number from 3 to 9") as error:
        read.top.need("workers", readers.whole(3, 9))
    assert (error.value.file, error.value.line) == ("faith.toml", 1)
    second = read.tables("service")[1]
    with pytest.raises(ConfigError, match=r"service\.ports: '443' is not") as error:
        second.need("ports", readers.choice(["80"]))
    assert error.value.line == 13


def test_a_bad_element_is_told_with_the_line_of_the_element() -> None:
    with pytest.raises(ConfigError, match=r"access\.rules: '' is not a text") as error:
        document().table("access").need("rules", readers.several(readers.text))
    assert error.value.line == 6


def test_what_is_missing_is_told_with_the_line_of_its_table() -> None:
    second = document().tables("service")[1]
    assert second.line() == 12
    assert second.line("via") == 14
    with pytest.raises(ConfigError, match="service: need is missing") as error:
        second.need("need", readers.text)
    assert error.value.line == 12
    fault = second.fault("it is wrong", "via")
    assert (fault.message, fault.line) == ("service.via: it is wrong", 14)

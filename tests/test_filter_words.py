"""The words of a filter."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.cli.top.filter_words import parse, words
from faith.errors import ConfigError

NETWORK = st.ip_addresses().map(str)
WANTED = st.fixed_dictionaries(
    {},
    optional={
        "client": NETWORK,
        "server": NETWORK,
        "source": NETWORK,
        "port": st.integers(0, 65535),
    },
)


@given(WANTED)
def test_words_are_read_as_they_were_written(wanted: dict[str, Any]) -> None:
    assert parse(words(wanted)) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", {}),
        ("2001:db8::/32", {"client": "2001:db8::/32"}),
        ("192.0.2.0/24 443", {"server": "192.0.2.0/24", "port": 443}),
        (
            "  client=192.0.2.1   server=2001:db8::1 ",
            {"client": "192.0.2.1", "server": "2001:db8::1"},
        ),
    ],
)
def test_a_name_may_be_left_out(text: str, wanted: dict[str, Any]) -> None:
    assert parse(text) == wanted


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("host=192.0.2.1", "'host' is none of client=NETWORK"),
        ("80 443", "port is said twice"),
        ("port=http", "'http' is no port"),
        ("65536", "'65536' is no port"),
        ("port=²", "'²' is no port"),
        ("example.org", "no IPv4 or IPv6 address"),
        ("client=", "no IPv4 or IPv6 address"),
        ("2001:db8::1/64", "bits set beyond"),
    ],
)
def test_others_are_refused(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        parse(text)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(ConfigError):
        assert set(parse(text)) <= {"client", "server", "source", "port"}

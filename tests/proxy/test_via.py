"""Via: what a proxy writes, and how it knows itself (RFC 9110 §7.6.3)."""

from __future__ import annotations

import pytest

from faith.proxy import via


def test_a_proxy_adds_itself() -> None:
    assert via.field(0, "gate.example:1080") == (b"Via", b"1.0 gate.example:1080")


@pytest.mark.parametrize(
    "values",
    [
        [b"1.1 faith"],
        [b"1.0 fred, 1.1 FAITH (Python)"],
        [b"1.0 fred", b"HTTP/1.1\tfaith"],
        [b",, 1.1  faith ,"],
    ],
)
def test_a_message_that_came_by_already(values: list[bytes]) -> None:
    assert via.has([(b"via", value) for value in values], "Faith")


@pytest.mark.parametrize(
    "value", [b"", b"1.1", b"faith", b"1.1 faith2", b"1.1 a (faith)", b"1.1 a faith"]
)
def test_a_message_that_did_not(value: bytes) -> None:
    assert not via.has([(b"Via", value), (b"X-Via", b"1.1 faith")], "faith")

"""What an rsh client may say first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faith.translation.rsh_port import LONGEST, stderr_port


@pytest.mark.parametrize(
    ("said", "port"),
    [
        (b"1023\0", 1023),
        (b"512\0root\0", 512),
        (b"00777\0", 777),
        (b"0\0", 0),
        (b"\0", 0),
        (b"\0root\0", 0),
    ],
)
def test_a_port_or_none(said: bytes, port: int) -> None:
    assert stderr_port(said) == port


@pytest.mark.parametrize("said", [b"", b"1", b"1023", b"00600"])
def test_more_is_to_come(said: bytes) -> None:
    assert stderr_port(said) is None


@pytest.mark.parametrize(
    "said",
    [
        b"511\0",
        b"1024\0",
        b"22\0",
        b"65535\0",
        b"-1\0",
        b"+600\0",
        b" 600\0",
        b"6 00",
        b"a",
        b"6\xb2",
    ],
)
def test_what_no_client_says(said: bytes) -> None:
    with pytest.raises(ValueError, match="not a"):
        stderr_port(said)


def test_too_many_digits() -> None:
    with pytest.raises(ValueError, match="too long"):
        stderr_port(b"000600")


@given(st.binary())
def test_whoever_speaks_octet_by_octet_is_told_soon(said: bytes) -> None:
    for end in range(len(said) + 1):
        try:
            port = stderr_port(said[:end])
        except ValueError:
            break
        if port is not None:
            assert port == 0 or 512 <= port < 1024
            break
    else:
        assert len(said) < LONGEST

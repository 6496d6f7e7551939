"""Commands, and lines that are none."""

from __future__ import annotations

import pytest

from faith.ftp import command
from faith.ftp.command import Command, CommandRefused


@pytest.mark.parametrize(
    ("line", "verb", "argument"),
    [
        (b"EPSV\r\n", b"EPSV", b""),
        (b"epsv 2\r\n", b"EPSV", b"2"),
        (b"EpSv  all \n", b"EPSV", b"all"),
        (b"  EPSV\t2\r\r\n", b"EPSV", b"2"),
        (b"RETR a b\r\n", b"RETR", b"a b"),
        (b"RETR a\rb\r\n", b"RETR", b"a\rb"),
        (b"STOR a\r\0b\r\n", b"STOR", b"a\r\0b"),
        (b"CWD \xd0\xaf\xff\xff\r\n", b"CWD", b"\xd0\xaf\xff\xff"),
        (b"P@SW\r\n", b"P@SW", b""),
    ],
)
def test_a_command(line: bytes, verb: bytes, argument: bytes) -> None:
    assert command.read(line) == Command(verb, argument)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"\r\n", "500"),
        (b" \n", "500"),
        (b"\x01PORT 1,2,3,4,5,6\r\n", "500"),
        (b"\xff\x01PORT 1,2,3,4,5,6\r\n", "500"),
        (b"\xffEPSV\r\n", "500"),
        (b"PORT\v1,2,3,4,5,6\r\n", "500"),
        (b"RETR a\0b\r\n", "501"),
        (b"RETR\0PORT\r\n", "501"),
        (b"RETR a\0\r\n", "501"),
        (b"\0\n", "501"),
        (b"RETR a\r\0\nPORT 1,2,3,4,5,6\r\n", "501"),
        (b"RETR a\r\0\n\r\n", "501"),
    ],
)
def test_no_command(line: bytes, code: str) -> None:
    with pytest.raises(CommandRefused) as refused:
        command.read(line)
    assert refused.value.reply.startswith(f"{code} ")
    assert bool(refused.value.log) == (code == "501")

"""What of a peer's octets may stand in a log."""

from __future__ import annotations

from faith.ftp.events import quoted


def test_one_short_line_of_ascii() -> None:
    text = quoted(b"|2|\xe9\n\x1b[2J\0|" + b"x" * 1000)
    assert text.startswith(r"'|2|\xe9\n\x1b[2J\x00|xx")
    assert len(text) < 200

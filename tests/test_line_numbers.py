from __future__ import annotations

import pytest

from faith.daemon.config.line_numbers import lines

TEXT = '''\
workers = 2   # a comment, "quoted = 1"

[[service]]
ports = "80"

[[service]]
ports = """
[log]
"""
server = [
    "/bin/true",  # ] not yet

    "true", "-x",
]
[dns]
"listen" = ["[::]:53",
]
inner.key = { x = 1, y = [2] }
[dns.more]
last = \'\'\'a
b\'\'\'
[[service.sub]]
deep = 1
'''


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (("workers",), 1),
        (("service",), 3),
        (("service", 0), 3),
        (("service", 0, "ports"), 4),
        (("service", 1), 6),
        (("service", 1, "ports"), 7),
        (("service", 1, "server"), 10),
        (("service", 1, "server", 0), 11),
        (("service", 1, "server", 1), 13),
        (("service", 1, "server", 2), 13),
        (("dns",), 15),
        (("dns", "listen"), 16),
        (("dns", "listen", 0), 16),
        (("dns", "inner", "key", "y", 0), 18),
        (("dns", "more", "last"), 20),
        (("service", 1, "sub"), 22),
        (("service", 1, "sub", 0), 22),
        (("service", 1, "sub", 0, "deep"), 23),
    ],
)
def test_the_line_of(place: tuple[str | int, ...], line: int) -> None:
    assert lines(TEXT)[place] == line


def test_lines_may_end_as_on_windows() -> None:
    assert lines(TEXT.replace("\n", "\r\n")) == lines(TEXT)


def test_no_text_has_no_lines() -> None:
    assert lines("") == {}

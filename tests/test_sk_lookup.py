from __future__ import annotations

import pytest

from faith.errors import SetupError
from faith.kernel.steering import sk_lookup
from faith.translation.prefix import Prefix


class Nothing(sk_lookup._Prefixes):
    """The prefixes of a program without a kernel."""

    def __init__(self) -> None:
        self._current = set()
        self.changes: list[tuple[str, bytes]] = []

    def update(self, key: bytes, value: bytes) -> None:
        self.changes.append(("add", key))

    def delete(self, key: bytes) -> None:
        self.changes.append(("remove", key))


def prefixes(*numbers: int) -> list[Prefix]:
    return [Prefix(0x2001_0DB8 << 96 | number << 32, 96) for number in numbers]


def test_a_change_adds_what_is_new_before_it_takes_what_is_old() -> None:
    known = Nothing()
    known.replace(prefixes(1, 2))
    known.changes.clear()
    known.replace(prefixes(2, 3))
    assert [change for change, _ in known.changes] == ["add", "remove"]
    assert [key[15] for _, key in known.changes] == [3, 1]


def test_too_many_prefixes_change_nothing() -> None:
    known = Nothing()
    with pytest.raises(SetupError, match="16385 are more than 16384"):
        known.replace(prefixes(*range(16385)))
    assert not known.changes

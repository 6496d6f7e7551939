"""docs/status.rst has every field of the status report and every kind of finding."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec import Struct

from faith.daemon.observe import status_report
from faith.daemon.observe.findings import KINDS

PAGE = (Path(__file__).parents[1] / "docs/status.rst").read_text()
STRUCTS = [
    one
    for one in vars(status_report).values()
    if isinstance(one, type) and issubclass(one, Struct) and one is not Struct
]
HEADING = re.compile(r"^(?:-{3,}|={3,})$", re.MULTILINE)
ROW = re.compile(r"^``([\w-]+)`` +(.*)$", re.MULTILINE)


def section(title: str) -> list[tuple[str, str]]:
    """The first words of the rows of the table below *title*, each with what follows."""
    _, _, rest = PAGE.partition(f"\n{title}\n{'-' * len(title)}\n")
    if not rest:
        _, _, rest = PAGE.partition(f"\n{title}\n{'=' * len(title)}\n")
    return ROW.findall(HEADING.split(rest, maxsplit=1)[0])


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda one: one.__name__)
def test_each_field_is_described(struct: type[Struct]) -> None:
    assert [name for name, _ in section(struct.__name__)] == list(struct.__struct_fields__)


def test_each_kind_of_finding_is_listed_with_its_severity_and_meaning() -> None:
    listed = {name: rest.split(maxsplit=1) for name, rest in section("Findings")}
    assert listed == {name: [kind.severity, kind.meaning] for name, kind in KINDS.items()}

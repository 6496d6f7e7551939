"""Causes: the table is what the code names, and what the documentation has."""

from __future__ import annotations

import re
from pathlib import Path

import faith
from faith.cli.explain import rendering
from faith.cli.explain.causes import CAUSES

ROOT = Path(faith.__file__).parents[1]
EXPLAIN = Path(rendering.__file__).parent


def test_each_cause_is_named_by_the_code_and_no_other_is() -> None:
    sources = [file for file in EXPLAIN.glob("*.py") if file.name != "causes.py"]
    text = "\n".join(file.read_text() for file in sources)
    assert {cause for cause in CAUSES if f'"{cause}"' not in text} == set()
    named = re.findall(r'problem\(\s*"[\w-]+",\s*"([\w-]+)"', text)
    assert set(named) <= CAUSES.keys()


def test_the_documentation_has_each_cause_with_its_meaning() -> None:
    text = (ROOT / "docs" / "explain.rst").read_text()
    rows = re.findall(r"^``([\w-]+)``  +(.+)$", text, re.MULTILINE)
    assert dict(rows) == CAUSES

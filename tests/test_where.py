"""docs/where.rst and the glossary: every question has one answer, and what it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
ANSWERED = re.compile(r"^(\S.*\?)\n    ``([^`]+)``$", re.MULTILINE)
ANSWERS = ANSWERED.findall((ROOT / "docs/where.rst").read_text())
LONGEST = 120
"""Characters of a definition in the glossary: one line of it."""


def names_in(body: list[ast.stmt], within: str = "") -> Iterator[str]:
    """Return the names that *body* defines: functions, classes and their members, and variables."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{within}{node.name}"
        elif isinstance(node, ast.ClassDef):
            yield f"{within}{node.name}"
            yield from names_in(node.body, f"{within}{node.name}.")
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (within + one.id for one in targets if isinstance(one, ast.Name))


def test_every_question_has_one_answer() -> None:
    text = (ROOT / "docs/where.rst").read_text()
    questions = re.findall(r"^\S.*\?$", text, re.MULTILINE)
    assert [question for question, _ in ANSWERS] == questions
    assert len(questions) == len(set(questions)) >= 20


@pytest.mark.parametrize("answer", [answer for _, answer in ANSWERS])
def test_what_an_answer_names_is_there(answer: str) -> None:
    path, _, name = answer.partition("::")
    assert (ROOT / path).is_file()
    if name:
        assert name in names_in(ast.parse((ROOT / path).read_text()).body)


def test_the_glossary_is_in_order_and_brief() -> None:
    text = (ROOT / "docs/architecture.rst").read_text()
    section = re.split(r"^Glossary\n=+\n", text, flags=re.MULTILINE)[1]
    section = re.split(r"^\S.*\n=+$", section, flags=re.MULTILINE)[0]
    found = re.findall(r"^\*(.+?)\*\n((?:    .*\n)+)", section, re.MULTILINE)
    terms = [term for term, _ in found]
    assert len(terms) > 30
    assert terms == sorted(terms, key=str.lower)
    assert [term for term, meaning in found if len(" ".join(meaning.split())) > LONGEST] == []

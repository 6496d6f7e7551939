"""The house: names stand once, imports make no circles, docstrings say what a thing is or does."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "faith").rglob("*.py"))


PLAIN = (
    "cli",
    "daemon",
    "datagram",
    "dns",
    "flow",
    "ftp",
    "kernel",
    "lab",
    "proxy",
    "relay",
    "translation",
)
"""Rooms whose docstrings are in plain technical English: all that there are."""
RIDDLE = re.compile(r"(?:What|Those|Whether|Who)\b")
PREDECESSOR = re.compile(r"\bprogram\s+(?:#\s+)?before\b")


def name_of(path: Path) -> str:
    """The name that *path* is imported by."""
    words = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(words[:-1] if words[-1] == "__init__" else words)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


# -- names ---------------------------------------------------------------------------------------


TWICE = ["ftp_data"]
"""Names of two modules each; no other may come, and one that is renamed leaves this list."""


def test_the_name_of_a_module_stands_once() -> None:
    names = Counter(path.stem for path in MODULES if path.stem != "__init__")
    assert [name for name, count in names.items() if count > 1] == TWICE


# -- circles -------------------------------------------------------------------------------------


@cache
def imports() -> dict[str, set[str]]:
    """Which modules each module imports, for types and inside functions too."""
    known = {name_of(path) for path in MODULES}
    found: dict[str, set[str]] = {}
    for path in MODULES:
        of_module = found.setdefault(name_of(path), set())
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Import):
                of_module |= {alias.name for alias in node.names} & known
            elif isinstance(node, ast.ImportFrom) and node.module:
                inner = {f"{node.module}.{alias.name}" for alias in node.names} & known
                of_module |= inner or {node.module} & known
        of_module.discard(name_of(path))
    return found


def circles(arrows: dict[str, set[str]]) -> Iterator[set[str]]:
    """Sets of modules that reach each other by *arrows*."""
    reach = {name: reached(arrows, name) for name in arrows}
    done: set[str] = set()
    for name in sorted(arrows):
        together = {other for other in reach[name] if name in reach[other]}
        if name not in done and len(together) > 1:
            done |= together
            yield together


def reached(arrows: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = {start}
    waiting = [start]
    while waiting:
        new = arrows.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found


def test_imports_make_no_circles() -> None:
    assert list(circles(imports())) == []


def test_a_circle_would_be_found() -> None:
    arrows = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"a"}}
    assert list(circles(arrows)) == [{"b", "c"}]


# -- docstrings ----------------------------------------------------------------------------------


def docstrings(path: Path) -> Iterator[str]:
    """The docstrings of a module, those of its attributes included."""
    for node in ast.walk(tree_of(path)):
        for inner in ast.iter_child_nodes(node):
            if isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant):
                value = inner.value.value
                if isinstance(value, str):
                    yield value


def is_plain(path: Path) -> bool:
    place = str(path.relative_to(ROOT))
    return place.startswith(tuple(f"faith/{room}/" for room in PLAIN))


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if is_plain(path)],
    ids=lambda path: str(path.relative_to(ROOT / "faith")),
)
def test_docstrings_say_what_a_thing_is_or_does(path: Path) -> None:
    assert [text for text in docstrings(path) if RIDDLE.match(text)] == []
    assert not PREDECESSOR.search(path.read_text()), "it is the predecessor process"


def test_a_riddle_would_be_found(tmp_path: Path) -> None:
    module = tmp_path / "riddles.py"
    module.write_text(
        '"""Whether it is one."""\nX = 1\n"""What it is."""\nY = 2\n"""A number."""\n'
    )
    assert [bool(RIDDLE.match(text)) for text in docstrings(module)] == [True, True, False]

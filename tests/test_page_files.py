"""The files of the page: complete, self-contained, and nothing else."""

from __future__ import annotations

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from faith.daemon.services import page_files
from faith.errors import SetupError

ROOT = Path(__file__).parents[1]
FILES = page_files.read()
TEXTS = {path: content.decode() for path, (content, _) in FILES.items()}


def test_the_page_is_there_with_all_it_names() -> None:
    named = re.findall(r"(?:href|src)=\"([^\"#]+)\"", TEXTS["/"])
    own = {f"/{name}" for name in named} - {"/status.json", "/metrics", "/readyz"}
    imported = {
        f"/{name}" for text in TEXTS.values() for name in re.findall(r'from "\./([^"]+)"', text)
    }
    assert own | imported | {"/"} == {*FILES}


@pytest.mark.parametrize("path", FILES)
def test_nothing_comes_from_elsewhere_and_nothing_is_inline(path: str) -> None:
    text = TEXTS[path].replace("http://www.w3.org/2000/svg", "")
    assert "//" not in re.sub(r"^\s*//.*|\s// .*", "", text, flags=re.MULTILINE)
    assert not re.search(r"<style|\sstyle=|\son\w+=\"|<script(?![^>]*src=)|@import|url\(", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)


@pytest.mark.parametrize("path", [path for path in FILES if path.endswith(".js")])
def test_scripts_stay_small(path: str) -> None:
    lines = TEXTS[path].splitlines()
    assert len(lines) < 400
    assert max(map(len, lines)) <= 120
    assert lines[0].startswith("// "), "it says what it is"


def test_each_has_the_type_that_a_browser_insists_on() -> None:
    types = {path: content_type.partition(";")[0] for path, (_, content_type) in FILES.items()}
    assert types["/"] == "text/html"
    assert types["/page.css"] == "text/css"
    assert types["/page.js"] == "text/javascript"
    assert types["/page.svg"] == "image/svg+xml"


def test_a_package_has_them_all() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["faith"]
    for file in page_files.DIRECTORY.iterdir():
        name = str(file.relative_to(ROOT / "faith"))
        assert any(fnmatch(name, pattern) for pattern in patterns), name


def test_the_pictures_in_the_document_are_there_and_small() -> None:
    named = re.findall(r"^\.\. image:: (\S+)$", (ROOT / "docs/page.rst").read_text(), re.MULTILINE)
    assert len(named) == 2
    for name in named:
        octets = (ROOT / "docs" / name).read_bytes()
        assert octets.startswith(b"\x89PNG")
        assert len(octets) < 150_000


def test_an_installation_without_them_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(page_files, "DIRECTORY", tmp_path / "gone")
    with pytest.raises(SetupError, match=r"the page of the admin listener.*install faith again"):
        page_files.read()

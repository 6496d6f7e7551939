"""The distribution ``faithd``: what its archives have, and what is installed from them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.version import VERSION

if TYPE_CHECKING:
    from email.message import Message

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LIMIT = 120
"""Seconds for building and installing; the machine may be loaded."""
OURS_ALONE = {".ci", ".gitignore"}
"""What belongs to the repository and not to the source archive."""

pytestmark = pytest.mark.timeout(2 * LIMIT)


def python(*words: str | Path, path: str = "") -> str:
    """Return what Python prints, with *path* before all other places to import from."""
    done = subprocess.run(
        [sys.executable, *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the source archive and of the wheel that is built from it."""
    place = tmp_path_factory.mktemp("distribution")
    tree = place / "tree"
    for path in tracked():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tree / path)
    python("-m", "build", "--no-isolation", "--outdir", place / "dist", tree)
    return place / "dist"


def tracked() -> list[str]:
    """The files of the repository that are there; without git, those of the source archive."""
    if not (ROOT / ".git").exists():
        return (ROOT / "faithd.egg-info/SOURCES.txt").read_text().split()
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(words, check=True, capture_output=True, text=True, cwd=ROOT)
    return [path for path in found.stdout.splitlines() if (ROOT / path).is_file()]


@pytest.fixture(scope="module")
def wheel(archives: Path) -> Path:
    return archives / f"faithd-{VERSION}-py3-none-any.whl"


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prefix with the wheel installed, but not what it depends on."""
    prefix = tmp_path_factory.mktemp("installed")
    pip = ("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--ignore-installed")
    python(*pip, "--prefix", prefix, wheel)
    return prefix


def libraries(prefix: Path) -> Path:
    (found,) = prefix.glob("lib*/python*/site-packages")
    return found


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        return Parser().parsestr(archive.read(f"faithd-{VERSION}.dist-info/METADATA").decode())


def test_indexes_take_both_archives(archives: Path) -> None:
    found = sorted(archives.iterdir())
    assert [path.name for path in found] == [
        f"faithd-{VERSION}-py3-none-any.whl",
        f"faithd-{VERSION}.tar.gz",
    ]
    python("-m", "twine", "check", "--strict", *found)


def test_the_source_archive_has_all_of_the_repository(archives: Path) -> None:
    with tarfile.open(archives / f"faithd-{VERSION}.tar.gz") as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {path for path in tracked() if Path(path).parts[0] not in OURS_ALONE}
    assert sorted(wanted - names) == []
    assert not [name for name in names if "__pycache__" in name]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("contrib/systemd/*.service", "lib/systemd/system"),
        ("contrib/systemd/*.socket", "lib/systemd/system"),
        ("contrib/systemd/sysusers.d/*", "lib/sysusers.d"),
        ("contrib/systemd/tmpfiles.d/*", "lib/tmpfiles.d"),
        ("docs/man/*.5", "share/man/man5"),
        ("docs/man/*.8", "share/man/man8"),
        ("examples/*", "share/doc/faithd/examples"),
    ],
)
def test_what_other_programs_read_is_where_they_look(
    installed: Path, source: str, target: str
) -> None:
    wanted = {path.name: path.read_text() for path in ROOT.glob(source)}
    assert wanted
    found = {path.name: path.read_text() for path in (installed / target).glob("*")}
    assert wanted.items() <= found.items()


def test_the_package_has_its_programs_for_the_kernel(installed: Path) -> None:
    package = libraries(installed) / "faith"
    for path in (ROOT / "faith").rglob("*"):
        if path.suffix in (".py", ".o", ".c", ".typed"):
            copy = package / path.relative_to(ROOT / "faith")
            assert copy.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("program", ["faith", "faithd"])
def test_the_programs_run(installed: Path, program: str) -> None:
    command = [str(installed / "bin" / program), "--version"]
    assert VERSION in python(*command, path=str(libraries(installed)))


def test_names_and_versions(metadata: Message) -> None:
    assert metadata["Name"] == "faithd", "faith is another project's"
    assert metadata["Version"] == VERSION
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert metadata["Description-Content-Type"] == "text/x-rst"
    assert "faith -e -p" in str(metadata.get_payload())


def test_the_daemon_depends_on_nothing_of_the_demo(metadata: Message) -> None:
    required = [one for one in metadata.get_all("Requires-Dist", []) if "extra ==" not in one]
    assert required == PROJECT["dependencies"]
    assert not [one for one in required if one.startswith(("pyroute2", "rich"))]


def test_nothing_names_the_distribution_of_others() -> None:
    """``pip install faith`` brings foreign code."""
    wrong = ("pip install faith ", "pip install faith\n", "pip install 'faith[", "faith[")
    for page in (*ROOT.glob("*.rst"), *ROOT.glob("docs/**/*"), *ROOT.glob("contrib/**/*.rst")):
        if page.is_file():
            text = page.read_text(errors="replace")
            assert not [words for words in wrong if words in text], page

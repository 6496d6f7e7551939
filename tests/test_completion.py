"""Completion of both commands in real shells, as their files are installed."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import faith
from faith.cli import completion, maps, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(faith.__file__).parent.parent
FILES = ROOT / "contrib" / "completion"
BIN = Path(sys.executable).parent
PATIENCE = 30.0

CASES = {
    "faith sta": "faith status",
    "faith map de": "faith map del",
    "faith proxy se": "faith proxy settings",
    "faith addr --lay": "faith addr --layout",
    "faith addr --layout rf": "faith addr --layout rfc6052",
    "faith check /etc/hostna": "faith check /etc/hostname",
    "faithd --conf": "faithd --config",
    "faithd --layout rf": "faithd --layout rfc6052",
    "faithd --config /etc/hostna": "faithd --config /etc/hostname",
    "faithd telne": "faithd telnet",
}
"""What is typed before the tabulator, and what the shell makes of it."""


class Terminal:
    """A shell in a terminal of its own."""

    def __init__(self, argv: list[str], setup: str, directory: Path) -> None:
        environment = {
            "PATH": f"{BIN}:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(directory),
            "TERM": "vt100",
            "LC_ALL": "C.UTF-8",
        }
        self._terminal, theirs = pty.openpty()
        self._shell = subprocess.Popen(
            ["setsid", "--ctty", *argv],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            cwd=directory,
        )
        os.close(theirs)
        self._seen = ""
        self.type(f"{setup}; echo rea''dy\n")
        self.read_to("ready")

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def read_to(self, pattern: str) -> re.Match[str]:
        """Return the first match of *pattern* in what the shell shows from now on."""
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self._seen)):
            left = deadline - time.monotonic()
            assert left > 0, self._seen
            if select.select([self._terminal], [], [], left)[0]:
                self._seen += os.read(self._terminal, 4096).decode(errors="replace")
        self._seen = self._seen[found.end() :]
        return found

    def completed(self, line: str, wanted: str) -> None:
        """Type *line* and a tabulator, wait until the line is *wanted*, and delete it."""
        self._seen = ""
        self.type(f"{line}\t")
        try:
            self.read_to(re.escape(wanted.removeprefix(line)))
        finally:
            self.type("\x15")  # Ctrl-U
        self.type("echo do''ne\n")
        self.read_to("done")

    def close(self) -> None:
        self._shell.kill()
        self._shell.wait()
        os.close(self._terminal)


@pytest.fixture(params=["bash", "zsh"])
def terminal(
    request: pytest.FixtureRequest, tmp_path: Path, need: Callable[[str], str]
) -> Iterator[Terminal]:
    shell = need(request.param)
    if request.param == "bash":
        argv = [shell, "--norc", "--noprofile", "-i"]
        setup = f"PS1='$ '; . {FILES}/faith.bash; . {FILES}/faithd.bash"
    else:
        argv = [shell, "-f", "-i"]
        setup = f"PS1='$ '; bindkey -e; fpath=({FILES} $fpath); autoload -U compinit; compinit -u"
    terminal = Terminal(argv, setup, tmp_path)
    yield terminal
    terminal.close()


@pytest.mark.timeout(240)  # each line starts the command, on a machine that may be busy
def test_a_line_is_completed(terminal: Terminal) -> None:
    for line, wanted in CASES.items():
        terminal.completed(line, wanted)


@pytest.mark.parametrize("line", CASES)
def test_fish_completes_a_line(line: str, tmp_path: Path, need: Callable[[str], str]) -> None:
    sources = "; ".join(f"source {file}" for file in sorted(FILES.glob("*.fish")))
    run = subprocess.run(
        [need("fish"), "--no-config", "-c", f"{sources}; complete -C '{line}'"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": f"{BIN}:/usr/bin:/bin", "HOME": str(tmp_path), "TERM": "dumb"},
        cwd=tmp_path,
    )
    assert CASES[line].split()[-1] in {one.split("\t")[0] for one in run.stdout.splitlines()}
    assert run.stderr == ""


@pytest.mark.parametrize(
    ("shell", "file"), [("bash", "faith.bash"), ("zsh", "_faith"), ("fish", "faith.fish")]
)
def test_the_file_of_faith_is_that_of_the_library(shell: str, file: str) -> None:
    run = subprocess.run(
        [BIN / "faith", "--show-completion", shell],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
    )
    assert (FILES / file).read_text().startswith(run.stdout)


def test_the_files_of_faithd_have_its_options() -> None:
    bash, zsh, fish = (
        (FILES / file).read_text() for file in ("faithd.bash", "_faithd", "faithd.fish")
    )
    for action in serve._parser()._actions:
        for option in action.option_strings:
            name = f"-l {option[2:]} " if option.startswith("--") else f"-s {option[1:]} "
            assert name in fish, option
            assert re.search(rf"['{{,)*]{option}[\[,}}']", zsh), option
            assert re.search(rf"[\s']{option}\s", bash), option
        for choice in action.choices or ():
            for text in (bash, zsh, fish):
                assert re.search(rf"\b{choice}\b", text), choice


def test_the_files_are_installed_where_shells_look() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    installed = project["tool"]["setuptools"]["data-files"]
    found = {file for files in installed.values() for file in files if "/completion/" in file}
    assert found == {str(file.relative_to(ROOT)) for file in FILES.iterdir()}


def test_words_are_completed_by_their_beginning() -> None:
    assert completion.words("in", "out", "inner")("in") == [("in", ""), ("inner", "")]


def test_without_a_daemon_nothing_is_completed_and_nothing_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("faith.daemon.host.discovery.DIRECTORY", tmp_path)
    for complete in (
        completion.sessions,
        maps.complete,
        completion.pids,
        completion.controls,
    ):
        assert complete("") == []
    assert capfd.readouterr() == ("", "")

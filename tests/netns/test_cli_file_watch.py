"""``faith reload --watch``, beside a faithd whose file changes as a kubelet changes it."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest

from faith.lab import wait_until
from faith.lab.topology import PREFIX
from tests.faithd import ENVIRONMENT, Faithd
from tests.netns.service import PORT, relays

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from faith.lab import ThreeHosts

pytestmark = pytest.mark.netns


class Mounted:
    """A ConfigMap as a directory: the file is a link to one that is a link, which is swapped."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._versions = iter(range(100))
        (directory / "faith.toml").symlink_to("..data/faith.toml")
        self.file = directory / "faith.toml"

    def put(self, text: str) -> None:
        version = self._directory / f"..version{next(self._versions)}"
        version.mkdir()
        (version / "faith.toml").write_text(text)
        swapped = self._directory / "..data_tmp"
        swapped.symlink_to(version.name)
        swapped.rename(self._directory / "..data")


@pytest.fixture
def mounted(tmp_path: Path) -> Mounted:
    directory = tmp_path / "config"
    directory.mkdir()
    return Mounted(directory)


@pytest.fixture
def watcher(lab: ThreeHosts, mounted: Mounted, tmp_path: Path) -> Iterator[Path]:
    """A faithd by the file, and a ``faith reload --watch``; return what the latter says."""
    control, said = tmp_path / "control", tmp_path / "said"
    mounted.put(text(control, ""))
    Faithd(lab.gateway, tmp_path / "log", "--config", str(mounted.file)).wait_said("serving")
    command = [sys.executable, "-m", "faith.cli.faith", "reload"]
    words = ["--watch", str(mounted.file), "--control", str(control)]
    with said.open("wb") as output:
        process = lab.gateway.popen([*command, *words], stderr=output, env=ENVIRONMENT)
    wait_said(said, "watching")
    yield said
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0


def text(control: Path, access: str) -> str:
    return (
        f'control = "{control}"\n[[prefix]]\naddress = "{PREFIX}"\n'
        f'[[service]]\nports = "{PORT}"\n[access]\nrules = [{access}]\n'
    )


def wait_said(said: Path, words: str) -> None:
    wait_until(lambda: words in said.read_text(), 20, f"{words!r} in {said.read_text()!r}")


@pytest.mark.usefixtures("echo")
def test_what_is_mounted_anew_is_in_force(
    lab: ThreeHosts, mounted: Mounted, watcher: Path, tmp_path: Path
) -> None:
    assert relays(lab)
    mounted.put(text(tmp_path / "control", '"::/0 deny 0.0.0.0/0"'))
    wait_said(watcher, "read again")
    with pytest.raises(ConnectionResetError):
        relays(lab)
    mounted.put("rubbish")
    wait_said(watcher, "not reloaded: ")
    mounted.put(text(tmp_path / "control", ""))
    wait_until(lambda: watcher.read_text().count("read again") == 2, 20, "the second reload")
    assert relays(lab)

"""``faith ready``, beside daemons that come, drain, and die."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest

from faith.lab import wait_until
from faith.lab.topology import PREFIX
from tests.faithd import ENVIRONMENT
from tests.netns.gateway import Gateway
from tests.netns.service import PORT

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    from faith.lab import ThreeHosts

    Watch = Callable[..., subprocess.Popen[str]]

pytestmark = pytest.mark.netns

FAITH = [sys.executable, "-m", "faith.cli.faith"]
FILE = f'[[prefix]]\naddress = "{PREFIX}"\n[[service]]\nports = "{PORT}"\n'


def asked(lab: ThreeHosts, *words: str) -> tuple[int, str]:
    result = lab.gateway.run([*FAITH, "ready", *words], check=False, env=ENVIRONMENT)
    return result.returncode, result.stdout + result.stderr


def test_a_host_is_ready_while_its_daemon_serves(lab: ThreeHosts, tmp_path: Path) -> None:
    assert asked(lab) == (1, "no faithd answers\n")
    gateway = Gateway(lab, tmp_path, FILE)
    assert asked(lab) == (0, "ready\n")
    gateway.signal(signal.SIGSTOP)
    assert asked(lab) == (1, "no faithd answers\n")
    gateway.signal(signal.SIGCONT)
    lab.gateway.run([*FAITH, "drain", "--lame-duck", "60"], env=ENVIRONMENT)
    assert asked(lab) == (1, "lame duck: it drains soon\n")


def test_each_of_several_daemons_has_to_be_ready(lab: ThreeHosts, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first = Gateway(lab, tmp_path, FILE)
    Gateway(lab, tmp_path / "other", FILE.replace(str(PORT), "8001"))
    assert asked(lab) == (0, "ready\n")
    drain = ["drain", "--lame-duck", "60", "--control", str(first.control)]
    lab.gateway.run([*FAITH, *drain], env=ENVIRONMENT)
    pid = first.process.pid
    assert asked(lab) == (1, f"{PORT} (pid {pid}): lame duck: it drains soon\n")


def test_commands_are_run_at_each_change_and_at_the_end(lab: ThreeHosts, tmp_path: Path) -> None:
    done = tmp_path / "done"
    done.touch()
    words = ["--watch", "--up", f"echo up >> {done}", "--down", f"echo down >> {done}"]
    process = lab.gateway.popen([*FAITH, "ready", *words], env=ENVIRONMENT)

    def wait_done(*expected: str) -> None:
        wait_until(lambda: done.read_text().split() == [*expected], 20, f"{expected}")

    wait_done("down")
    gateway = Gateway(lab, tmp_path, FILE)
    wait_done("down", "up")
    gateway.signal(signal.SIGKILL)
    wait_done("down", "up", "down")
    gateway.process.wait()
    (tmp_path / "next").mkdir()
    Gateway(lab, tmp_path / "next", FILE)
    wait_done("down", "up", "down", "up")
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert done.read_text().split()[4:] == ["down"]


def test_a_lame_duck_has_a_command_of_its_own(lab: ThreeHosts, tmp_path: Path) -> None:
    done = tmp_path / "done"
    done.touch()
    Gateway(lab, tmp_path, FILE)
    commands = {"--up": "up", "--lame-duck": "lame", "--down": "down"}
    words = [word for name, text in commands.items() for word in (name, f"echo {text} >> {done}")]
    lab.gateway.popen([*FAITH, "ready", "--watch", *words], env=ENVIRONMENT)
    wait_until(lambda: done.read_text() == "up\n", 20, "ready")
    lab.gateway.run([*FAITH, "drain", "--lame-duck", "1"], env=ENVIRONMENT)
    wait_until(lambda: done.read_text() == "up\nlame\ndown\n", 20, "a lame duck, then the end")


def test_a_command_that_fails_is_run_again(lab: ThreeHosts, tmp_path: Path) -> None:
    done = tmp_path / "done"
    first_fails = f"test -e {done} || {{ touch {done}; exit 3; }}; echo down >> {done}"
    output = tmp_path / "output"
    with output.open("wb") as file:
        lab.gateway.popen(
            [*FAITH, "ready", "--watch", "--down", first_fails], stderr=file, env=ENVIRONMENT
        )
    wait_until(lambda: done.exists() and "down" in done.read_text(), 20, "the second try")
    assert "exit status 3" in output.read_text()


def test_commands_take_a_watch(lab: ThreeHosts) -> None:
    assert asked(lab, "--up", "true") == (
        2,
        "faith: --up, --lame-duck and --down belong to --watch\n",
    )

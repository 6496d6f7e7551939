"""``faith demo``, by root and by anybody: everything passes, and nothing stays behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import sysconfig
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.cli.demo import story
from faith.cli.demo.visits import VISITS, Visit
from faith.errors import SetupError
from faith.lab import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

pytestmark = pytest.mark.netns

MARK = f"FAITH_TEST_DEMO={uuid.uuid4()}"  # every process of a demo that we start inherits it
ENVIRONMENT = {
    **os.environ,
    **dict([MARK.split("=")]),
    "PYTHONPATH": str(Path(__file__).parents[2]),
}
DEMO = ["-m", "faith.cli.faith", "demo"]
NOBODY = 65534
STORY = (
    "─── client ───",
    "faith -e -p 2001:db8:ffff::/96",
    "To me you are 192.0.2.1.",
    "GET / gives 200 OK",
    "upload, port 9: passed",
    "download, port 19: passed",
    "──IPv6─▶ 23, ",
    "67,108,896",
    "mapped=[2001:db8:ffff::c000:250]:80 source=192.0.2.1:",
    "prefix   2001:db8:ffff::/96, layout low32, guarded",
    "All connections passed",
)


def demo(*options: str) -> str:
    """Return the output of the demo, which must succeed without a warning."""
    return run([sys.executable, *DEMO, *options], ENVIRONMENT)


def run(argv: Sequence[str], environment: dict[str, str], user: int | None = None) -> str:
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        timeout=50,
        env={**environment, "PYTHONIOENCODING": "utf-8"},
        user=user,
        group=user,
        extra_groups=None if user is None else (),
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


def left() -> list[str]:
    """Return what is left of a demo: processes, and names of namespaces."""
    found = [str(name) for name in Path("/run/netns").glob("faith-*")]
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone meanwhile
            if MARK.encode() in process.joinpath("environ").read_bytes():
                found.append(process.joinpath("cmdline").read_text())
    return found


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    yield
    with suppress(TimeoutError):
        wait_until(lambda: not left(), 5, "the end of all that the demo has started")
    assert left() == []


def test_every_connection_passes() -> None:
    told = demo()
    assert [part for part in STORY if part not in told] == []
    assert "\x1b" not in told


def test_a_plain_terminal_gets_plain_text() -> None:
    told = subprocess.run(
        [sys.executable, *DEMO],
        capture_output=True,
        timeout=50,
        check=True,
        env={**ENVIRONMENT, "PYTHONIOENCODING": "ascii"},
    ).stdout
    assert b"--IPv6->" in told
    assert b"?" not in told


@pytest.fixture
def anybody() -> tuple[str, dict[str, str]]:
    """A Python that a user without rights can use for us, and its environment."""
    if os.geteuid() or not is_mapped(NOBODY):
        pytest.skip("only root of the machine can become another user")
    paths = [
        str(Path(__file__).parents[2]),
        *{sysconfig.get_path(n) for n in ("purelib", "platlib")},
    ]
    environment = {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join(paths)}
    for python in (sys.executable, "/usr/bin/python3"):
        probe = [python, "-c", "import faith.cli.demo.story, typer, uvloop, pyroute2"]
        try:
            run(probe, environment, NOBODY)
        except (OSError, AssertionError):
            continue
        return python, environment
    pytest.skip("another user may not even read this clone, or its Python")


def is_mapped(user: int) -> bool:
    lines = Path("/proc/self/uid_map").read_text().splitlines()
    spans = (map(int, line.split()) for line in lines)
    return any(first <= user < first + count for first, _, count in spans)


def test_it_needs_no_root(anybody: tuple[str, dict[str, str]]) -> None:
    python, environment = anybody
    told = run([python, *DEMO], environment, NOBODY)
    assert [part for part in STORY if part not in told] == []


class TestKeeping:
    @contextmanager
    def kept(self, run_demo: Callable[[str], str]) -> Iterator[list[str]]:
        """The commands that are there to be tried."""
        told = run_demo("--keep")
        try:
            yield re.findall(r"^  ((?:ip netns|nsenter|tail -f) .*)$", told, re.MULTILINE)
        finally:
            assert run_demo("--remove") == "removed faith-client, faith-gateway, faith-server\n"

    def check(self, commands: list[str], environment: dict[str, str], user: int | None) -> None:
        """See that they do what they promise."""
        page = next(command for command in commands if re.search("curl|urllib", command))
        assert "A page of 192.0.2.80, for 192.0.2.1." in run(
            ["sh", "-c", page.replace("curl", "curl -sS")], environment, user
        )
        status = next(command for command in commands if command.endswith(" status"))
        assert "faithd   ports 9,19,23,80, by route" in run(["sh", "-c", status], environment, user)
        log = commands[-1].replace("tail -f", "cat")
        assert ":80 source=192.0.2.1:" in run(["sh", "-c", log], environment, user)

    def test_the_network_stays_until_it_is_removed(self, need: Callable[[str], str]) -> None:
        need("ip")
        with self.kept(demo) as commands:
            self.check(commands, ENVIRONMENT, None)
        assert demo("--remove") == "there was nothing to remove\n"

    def test_so_it_does_for_anybody(
        self, anybody: tuple[str, dict[str, str]], need: Callable[[str], str]
    ) -> None:
        need("nsenter")
        python, environment = anybody

        def by_anybody(option: str) -> str:
            return run([python, *DEMO, option], environment, NOBODY)

        with self.kept(by_anybody) as commands:
            self.check(commands, environment, NOBODY)


class TestFailing:
    def test_a_visit_that_fails_is_shown_and_counts(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def fail(address: str) -> tuple[str, ...]:
            raise ConnectionRefusedError(111, "Connection refused", address)

        monkeypatch.setattr(story, "VISITS", (Visit("nothing", 7, fail), *VISITS[:1]))
        assert story.run(stay=False) == 1
        told = capsys.readouterr().out
        assert "nothing, port 7: FAILED" in told
        assert "dialogue, port 23: passed" in told
        assert "Not every connection passed" in told

    def test_a_program_that_does_not_start_is_quoted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        command = [sys.executable, "-c", "import sys; sys.exit('no such luck')"]
        monkeypatch.setattr(story, "_FAITHD", command)
        with pytest.raises(SetupError, match="no such luck"):
            story.run(stay=False)

    @pytest.fixture
    def interruptible(self) -> Iterator[None]:
        """Programs we start hear SIGINT, even if a shell in the background had us ignore it."""
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
        signal.signal(signal.SIGINT, before)

    @pytest.mark.usefixtures("interruptible")
    def test_an_interrupt_ends_it_all(self) -> None:
        with subprocess.Popen(
            [sys.executable, *DEMO],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
        ) as running:
            assert running.stdout
            while b"faithd -F" not in running.stdout.readline():
                assert running.poll() is None
            running.send_signal(signal.SIGINT)
            assert running.communicate(timeout=20)[1] == b""
        assert running.returncode == 130

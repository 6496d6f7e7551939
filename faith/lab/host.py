"""A host of the lab: a network namespace that can be configured and run programs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import AF_INET, AF_INET6, AF_UNSPEC, AddressFamily
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from faith.errors import SetupError
from faith.lab import warden
from faith.lab.links import Links
from faith.lab.namespace import current_network, enter_network
from faith.lab.resident import Resident
from faith.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_TABLES = {AF_INET: ("",), AF_INET6: ("6",), AF_UNSPEC: ("", "6")}
_WAITING_STATE = {"tcp": "0A", "udp": "07"}  # as /proc/net/tcp and /proc/net/udp have it


class Host:
    """A network namespace with only lo up, made by :meth:`faith.lab.Network.host`.

    *links* configures it; *namespace* is its descriptor.  Only that and a thread hold it, so it
    ends with this process; programs started in it are ended then, however this process ends.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._resident = Resident(name)
        self.namespace = self._resident.namespace
        self.links = Links(self._resident)
        self._warden: subprocess.Popen[str] | None = None
        self._posting = Lock()
        self._programs: list[subprocess.Popen[str]] = []
        self._kept = False
        self.links.up("lo")

    def __repr__(self) -> str:
        return f"<Host {self.name}>"

    def close(self) -> None:
        """End the programs (SIGTERM, then SIGKILL) and release the namespace."""
        if not self._kept:
            self._end_programs()
        self.links.close()
        self._resident.close()

    def _end_programs(self) -> None:
        if self._warden:
            self._warden.communicate("end\n", timeout=warden.GRACE + 5)
        for program in self._programs:
            _kill(program)  # a program that moved to another namespace
            with suppress(BrokenPipeError), program:
                pass

    def keep(self) -> int:
        """Let the namespace and its programs outlive this process.

        Returns the process that holds them: named ``faith-NAME``, it ends them all on SIGTERM.
        """
        holder = self._post_warden()
        if not self._kept:
            self._kept = True
            assert holder.stdin
            assert holder.stdout
            with holder.stdin as orders, holder.stdout as answer:
                orders.write("keep\n")
                orders.flush()
                answer.read()
        return holder.pid

    def call(self, function: Callable[[*Ts], T], *args: *Ts, timeout: float = 30) -> T:
        """Call *function* in a thread of this namespace; return what it returns, or raise its
        error.

        A socket that it makes belongs to the namespace and can be used anywhere afterwards.  Raises
        TimeoutError after *timeout* seconds; that does not interrupt the function.
        """
        return self._resident.call(function, *args, timeout=timeout)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Move the calling thread into this namespace for the block."""
        outside = current_network()
        try:
            enter_network(self.namespace)
            yield
        finally:
            enter_network(outside)
            os.close(outside)

    def popen(
        self, argv: Sequence[str | os.PathLike[str]], **options: Any
    ) -> subprocess.Popen[str]:
        """Start a program here, in a session of its own; it is ended with the lab at the latest.

        *options* are those of subprocess.Popen; standard input is /dev/null unless they set it, and
        pipes are in text mode.
        """
        self._post_warden()
        options = {"stdin": subprocess.DEVNULL, "errors": "backslashreplace", **options}
        program = self.call(
            lambda: subprocess.Popen(argv, text=True, start_new_session=True, **options)
        )
        self._programs.append(program)
        return program

    def run(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        stdin: str = "",
        timeout: float = 30,
        check: bool = True,
        **options: Any,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program here with the input *stdin*; return its result with its output.

        Raises CalledProcessError, unless *check* is false, and TimeoutExpired after *timeout*
        seconds, with its process group killed; the output is in a note of either.
        """
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        program = self.popen(argv, **{**pipes, **options})
        try:
            output, errors = program.communicate(stdin, timeout)
        except subprocess.TimeoutExpired as expired:
            _kill(program)
            expired.add_note("".join(text or "" for text in program.communicate(timeout=1)))
            raise
        if check and program.returncode:
            failed = subprocess.CalledProcessError(program.returncode, argv, output, errors)
            failed.add_note(f"on {self.name} it wrote: {output or ''}{errors or ''}")
            raise failed
        return subprocess.CompletedProcess(argv, program.returncode, output, errors)

    def processes(self) -> list[int]:
        """Return the processes in this namespace, in ascending order."""
        holder = self._warden.pid if self._warden else None
        found = warden.inhabitants(os.fstat(self.namespace))
        return sorted(pid for pid in found if pid != holder)

    def _post_warden(self) -> subprocess.Popen[str]:
        with self._posting:  # the first programs may be started by several threads
            if self._warden is None:
                self._warden = self.call(
                    lambda: subprocess.Popen(
                        [sys.executable, "-IS", warden.__file__, self.name],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.DEVNULL,
                        text=True,
                        start_new_session=True,
                    )
                )
            return self._warden

    def sysctl(self, name: str, value: object = None) -> str:
        """Return the value of ``net.…`` here, after setting it if one is given.  Raises
        SetupError."""
        path = Path("/proc/sys", *name.split("."))

        def access() -> str:
            if value is not None:
                path.write_text(str(value))
            return path.read_text().strip()

        try:
            return self.call(access)
        except OSError as error:
            raise SetupError(f"sysctl {name} on {self.name}", str(error.strerror)) from error

    def is_listening(
        self, port: int, family: AddressFamily = AF_UNSPEC, protocol: str = "tcp"
    ) -> bool:
        """Return whether a TCP socket listens, or a UDP socket is bound, on *port*; nothing is
        sent."""
        suffix = f":{port:04X}"
        tables = [f"/proc/thread-self/net/{protocol}{version}" for version in _TABLES[family]]
        for table in tables:
            for line in self.call(Path(table).read_text).splitlines()[1:]:
                _, local, _, state = line.split(maxsplit=4)[:4]
                if local.endswith(suffix) and state == _WAITING_STATE[protocol]:
                    return True
        return False

    def wait_listening(
        self,
        port: int,
        family: AddressFamily = AF_UNSPEC,
        protocol: str = "tcp",
        seconds: float = 5,
        program: subprocess.Popen[str] | None = None,
    ) -> None:
        """Return once :meth:`is_listening`.

        Raises TimeoutError after *seconds*, and ChildProcessError as soon as *program*, which is
        expected to listen, has ended instead.
        """

        def settled() -> bool:
            if self.is_listening(port, family, protocol):
                return True
            if program and program.poll() is not None:
                raise ChildProcessError(
                    f"{program.args!r} on {self.name} ended with {program.returncode}"
                    f" before it listened on {protocol} port {port}"
                )
            return False

        wait_until(settled, seconds, f"{self.name} listening on {protocol} port {port}")


def _kill(program: subprocess.Popen[str]) -> None:
    if program.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)

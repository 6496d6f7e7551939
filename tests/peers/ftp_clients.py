"""Real FTP clients: each logs in, lists, uploads, downloads, aborts and goes on, as far as it can.

They know nothing of the way between them and the server.
"""

from __future__ import annotations

import ftplib
import re
import select
import signal
import socket
import ssl
import struct
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from faith.lab import wait_until
from tests.peers.ftp_servers import ENDLESS, PASSWORD, USER
from tests.peers.site import digest
from tests.peers.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.peers.site import Meeting

EPSV, EPRT, PASV, FTPS = MODES = ("EPSV", "EPRT", "PASV refused", "FTPS")
"""``PASV refused``: the client asks PASV, is told off, and goes on with EPSV.  ``FTPS`` is AUTH TLS
and EPSV behind it."""

PATIENCE = 40
"""Seconds that a client waits for a reply: a machine that does other things takes its time.

Half of it is lftp's, which pure-ftpd leaves without a reply to an ABOR behind TLS, every time.
"""

VISIT = 150
"""Seconds for a whole visit."""

_BEGUN = 1 << 16
"""Octets after which a transfer that was announced is under way."""

_SILENCE = 3.0
"""Seconds after which no reply is taken for none."""

_START = 1000
"""Octets of the endless file before it is aborted."""


@dataclass(frozen=True)
class Visit:
    """A visit in a *mode* to the server of a *meeting*, whose visitor has the directory *files*.

    *pasv* is the code of the reply that PASV gets; *synch*, whether the server can be interrupted.
    """

    meeting: Meeting
    mode: str
    files: Path
    pasv: str
    synch: bool

    @property
    def url(self) -> str:
        return f"ftp://{self.meeting.url_host}"

    def assert_mode(self, transcript: str) -> None:
        """Raises AssertionError unless the client, by its own account, kept to the mode."""
        if ":" in self.meeting.address and self.mode != FTPS:  # with TLS, and over IPv4, it may do
            assert ("EPRT" if self.mode == EPRT else "EPSV") in transcript  # as it likes
        assert self.mode != PASV or re.search(rf"\s{self.pasv}\s", transcript)

    def assert_listed(self, name: str) -> None:
        assert ENDLESS in (self.meeting.client.directory / name).read_text()

    def assert_moved(self, copy: Path) -> None:
        assert digest(copy) == self.meeting.payload.digest


@dataclass(frozen=True)
class Client:
    """A program that visits servers, and the modes that it is *without*, with the reasons."""

    name: str
    visit: Callable[[Visit], None]
    without: Mapping[str, str]


def _curl(visit: Visit) -> None:
    meeting = visit.meeting
    directory = meeting.client.directory
    mode = {EPSV: [], EPRT: ["-P-"], PASV: ["-Q*PASV"], FTPS: ["--ssl-reqd", "--insecure"]}[
        visit.mode
    ]
    common = ["--user", f"{USER}:{PASSWORD}", *mode]
    transfers: list[list[str | Path]] = [
        ["-o", directory / "list", f"{visit.url}/"],
        ["-T", meeting.payload.path, f"{visit.url}/there"],
        ["-o", directory / "back", f"{visit.url}/there"],
        ["-o", directory / "start", "-r", f"0-{_START - 1}", f"{visit.url}/{ENDLESS}"],
        ["-o", directory / "again", f"{visit.url}/"],
    ]
    arguments: list[str | Path] = [
        word for transfer in transfers for word in ("--next", *common, *transfer)
    ]
    transcript = directory / "transcript"
    once: list[str | Path] = ["-q", "-sSv", "--fail-early", "--stderr", transcript]
    meeting.client.run("curl", *once, *arguments[1:], timeout=VISIT)
    visit.assert_mode(transcript.read_text())
    visit.assert_listed("list")
    visit.assert_moved(visit.files / "there")
    visit.assert_moved(directory / "back")
    assert "> ABOR" in transcript.read_text()
    visit.assert_listed("again")


_LFTP = """\
set net:max-retries 1
set net:timeout 20
set ftp:abor-max-wait 10
set ftp:prefer-epsv yes
set ftp:passive-mode {passive}
set ftp:ssl-allow {tls}
set ftp:ssl-force {tls}
set ftp:ssl-protect-data {tls}
set ssl:verify-certificate no
debug -o transcript 9
open -u {user},{password} {address}
{pasv}
set cmd:fail-exit yes
cls > list
put {payload} -o there
get there -o back
set cmd:fail-exit no
cat {endless} | head -c {start} > start
set cmd:fail-exit yes
cls > again
"""


def _lftp(visit: Visit) -> None:
    meeting = visit.meeting
    directory = meeting.client.directory
    script = directory / "script"
    script.write_text(
        _LFTP.format(
            passive="no" if visit.mode == EPRT else "yes",
            tls="yes" if visit.mode == FTPS else "no",
            pasv="quote PASV > pasv" if visit.mode == PASV else "",
            user=USER,
            password=PASSWORD,
            address=meeting.url_host,
            payload=meeting.payload.path,
            endless=ENDLESS,
            start=_START,
        )
    )
    meeting.client.run("lftp", "--norc", "-f", script, timeout=VISIT)
    transcript = (directory / "transcript").read_text()
    if visit.mode == PASV:
        transcript += f" {(directory / 'pasv').read_text()}"
    visit.assert_mode(transcript)
    visit.assert_listed("list")
    visit.assert_moved(visit.files / "there")
    visit.assert_moved(directory / "back")
    assert (directory / "start").stat().st_size == _START
    assert "---> ABOR" in transcript
    visit.assert_listed("again")


def _tnftp(visit: Visit) -> None:
    meeting = visit.meeting
    mode = ["-A"] if visit.mode == EPRT else ["-p"]
    prompt = "ftp> "
    said = ""
    with Terminal(meeting.client, "tnftp", "-ind", *mode, meeting.address) as terminal:
        wait_for = partial(terminal.wait_for, seconds=PATIENCE)

        def do(command: str, reply: str) -> None:
            nonlocal said
            terminal.type(f"{command}\n")
            said += wait_for(f"\n{reply}") + wait_for(prompt)

        wait_for(prompt)
        do(f"user {USER} {PASSWORD}", "230")
        do("binary", "200")
        if visit.mode == PASV:
            do("quote PASV", visit.pasv)
        do("ls . list", "226")
        do(f"put {meeting.payload.path} there", "226")
        do("get there back", "226")
        if visit.synch:
            terminal.type(f"get {ENDLESS} /dev/null\n")
            wait_for("\n1")
            line = wait_for("\n")
            if line[2] == "-":  # it ends the session when it is interrupted within a reply
                wait_for(f"1{line[:2]} ")
                wait_for("\n")
            before = terminal.octets_read
            wait_until(lambda: terminal.octets_read > before + _BEGUN, PATIENCE, "the transfer")
            terminal.program.send_signal(signal.SIGINT)
            wait_for("receive aborted")
            wait_for(prompt)
        do("ls . again", "226")
        terminal.type("quit\n")
        terminal.program.wait(PATIENCE)
    visit.assert_mode(said)
    visit.assert_listed("list")
    visit.assert_moved(visit.files / "there")
    visit.assert_moved(meeting.client.directory / "back")
    visit.assert_listed("again")


def _wget(visit: Visit) -> None:
    meeting = visit.meeting
    directory = meeting.client.directory
    (visit.files / "there").hardlink_to(meeting.payload.path)
    mode = ["--no-passive-ftp"] if visit.mode == EPRT else []
    options = ["--no-config", "-d", "-a", "transcript", "-t1", f"-T{PATIENCE}", *mode]
    login = [f"--user={USER}", f"--password={PASSWORD}"]
    for name, path in (("list", ""), ("back", "there")):
        meeting.client.run(
            "wget", *options, *login, "-O", name, f"{visit.url}/{path}", timeout=VISIT
        )
    visit.assert_mode((directory / "transcript").read_text())
    visit.assert_listed("list")
    visit.assert_moved(directory / "back")


class _Ftp(ftplib.FTP):
    """An ftplib that keeps its commands, and sends the ABOR of RFC 959.

    Its own has the line feed as urgent data, which servers then take out of the stream.
    """

    said = ""

    def putline(self, line: str) -> None:
        self.said += f"{line}\n"
        super().putline(line)

    def abort(self) -> str:
        assert self.sock
        self.sock.sendall(b"\xff\xf4\xff\xf2", socket.MSG_OOB)  # IAC IP IAC DM
        self.putline("ABOR")
        return ""


class _FtpTls(ftplib.FTP_TLS):
    """An ftplib with TLS that keeps its commands, and takes any reply to ABOR."""

    said = ""

    def putline(self, line: str) -> None:
        self.said += f"{line}\n"
        super().putline(line)

    def abort(self) -> str:
        self.putline("ABOR")
        return ""


def _ftplib(visit: Visit) -> None:
    visit.meeting.client.host.call(_talk, visit, timeout=VISIT)


def _talk(visit: Visit) -> None:
    meeting = visit.meeting
    directory = meeting.client.directory
    with _logged_in(visit) as ftp:
        ftp.set_pasv(visit.mode != EPRT)
        if visit.mode == PASV:
            ftp.putcmd("PASV")
            ftp.said += f" {ftp.getmultiline()}\n"
        (directory / "list").write_text("\n".join(ftp.nlst()))
        with meeting.payload.path.open("rb") as payload:
            ftp.storbinary("STOR there", payload)
        with (directory / "back").open("wb") as back:
            ftp.retrbinary("RETR there", back.write)
        with closing(ftp.transfercmd(f"RETR {ENDLESS}")) as data:
            data.recv(_START)
            if visit.mode == FTPS:
                # A reset that comes after a FIN is EPIPE for the server, upon which proftpd's
                # mod_tls ends the whole session: no FIN goes before it.
                data.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        ftp.abort()
        _hear_out(ftp)
        (directory / "again").write_text("\n".join(ftp.nlst()))
    visit.assert_mode(ftp.said)
    visit.assert_listed("list")
    visit.assert_moved(visit.files / "there")
    visit.assert_moved(directory / "back")
    visit.assert_listed("again")


def _logged_in(visit: Visit) -> _Ftp | _FtpTls:
    address = visit.meeting.address
    if visit.mode != FTPS:
        return _Ftp(address, USER, PASSWORD, timeout=PATIENCE)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    secure = _FtpTls(address, USER, PASSWORD, timeout=PATIENCE, context=context)
    secure.prot_p()
    return secure


def _hear_out(ftp: ftplib.FTP) -> None:
    """Read all the replies to an abort: pure-ftpd has none at all when it finds the data gone."""
    assert ftp.sock
    select.select([ftp.sock], [], [], _SILENCE)
    ftp.putcmd("NOOP")
    while not ftp.getmultiline().startswith("200"):
        pass


CLIENTS = (
    Client("curl", _curl, {}),
    Client("lftp", _lftp, {}),
    Client("tnftp", _tnftp, {FTPS: "tnftp has no AUTH TLS"}),
    Client(
        "wget",
        _wget,
        {
            PASV: "wget never asks PASV over IPv6",
            FTPS: "wget asks EPSV 2, which IPv4 servers refuse, and TLS keeps from the relay",
        },
    ),
    Client("ftplib", _ftplib, {}),
)

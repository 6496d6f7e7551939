"""Real FTP servers with throw-away configuration: :func:`start` returns when one listens.

Each lets :data:`USER` in, to a directory of the site that the server knows as ``/media``, where
:data:`ENDLESS` is a file too large to be fetched to its end.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conftest import do_without

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.peers.site import Site

FTP = 21
USER, PASSWORD = "visitor", "secret"
ENDLESS = "endless"

_UID, _GID = 65533, 65534
_HOME = "/media"
_HASH = (
    "$6$wPwLVMYhiTAZZcaN$6KAVnmKywJxBIJnGHEYMG0VA/"
    "fydTnfkca.SJv87wbvTqAtZdHICMamJ.sJDusfXNd7w1rUPwMeADQ79251bJ1"
)
"""Of :data:`PASSWORD`, as ``openssl passwd -6`` makes it."""

_MODULES = ("mod_delay.c", "mod_ls.c", "mod_xfer.c", "mod_tls.c")
_BEHIND_ANOTHER_ETC = """\
mount --bind passwd /etc/passwd && mount --bind pam.d /etc/pam.d && mount --bind files /media &&
exec "$@"
"""


@dataclass(frozen=True)
class Server:
    """A program that serves FTP: what to start it with, and whether it knows AUTH TLS.

    *synch*: it replies to an ABOR with a Synch, as of Telnet, while it sends data.
    *joins*: it reads commands that come in several segments.
    """

    name: str
    command: Callable[[Site], list[str | Path]]
    tls: bool = True
    synch: bool = True
    joins: bool = True


def start(server: Server, site: Site) -> Path:
    """Start *server*, and return its visitor's directory."""
    site.need_other_users()
    files = site.directory / "files"
    files.mkdir()
    os.chown(files, _UID, _GID)
    with (files / ENDLESS).open("wb") as endless:
        endless.truncate(2**36)
    _write_etc(site.directory)
    _write_certificate(site)
    isolated = ["--mount", "sh", "-c", _BEHIND_ANOTHER_ETC, server.name]
    site.serve(FTP, "unshare", *isolated, *server.command(site))
    return files


def start_elsewhere(port: int, site: Site) -> Path:
    """pyftpdlib at another *port*; returns the directory that it serves."""
    files = site.directory / "files"
    files.mkdir()
    _write_certificate(site)
    program = Path(__file__).with_name("pyftpd.py")
    arguments = (program, str(port), USER, PASSWORD, files, site.directory / "pem")
    site.serve(port, sys.executable, *arguments)
    return files


def _write_etc(directory: Path) -> None:
    users = Path("/etc/passwd").read_text()
    visitor = f"{USER}:{_HASH}:{_UID}:{_GID}::{_HOME}:/bin/sh\n"
    (directory / "passwd").write_text(users + visitor)
    (directory / "pam.d").mkdir()
    modules = "auth required pam_unix.so\naccount required pam_unix.so\n"
    (directory / "pam.d" / "other").write_text(modules)


def _write_certificate(site: Site) -> None:
    """A key and a certificate in one file, as all the servers read them."""
    made = ("-newkey", "rsa:2048", "-nodes", "-keyout", "key", "-out", "certificate")
    site.run("openssl", "req", "-x509", "-subj", "/CN=server", "-days", "2", *made)
    pem = site.directory / "pem"
    pem.write_bytes(b"".join((site.directory / name).read_bytes() for name in ("key", made[-1])))
    pem.chmod(0o600)


def _vsftpd(site: Site) -> list[str | Path]:
    empty = site.directory / "empty"
    empty.mkdir()
    configuration = site.directory / "vsftpd.conf"
    configuration.write_text(
        "listen=YES\nbackground=NO\nanonymous_enable=NO\nlocal_enable=YES\nwrite_enable=YES\n"
        f"connect_from_port_20=YES\nasync_abor_enable=YES\nsecure_chroot_dir={empty}\n"
        "ssl_enable=YES\nforce_local_logins_ssl=NO\nforce_local_data_ssl=NO\n"
        f"require_ssl_reuse=NO\nrsa_cert_file={site.directory}/pem\n"
    )
    return [site.need("vsftpd"), configuration]


def _proftpd(site: Site) -> list[str | Path]:
    program = Path(site.need("proftpd")).resolve()
    modules = program.parents[1] / "lib/proftpd"
    if not (modules / "mod_tls.so").exists():
        do_without("proftpd's mod_tls is not installed")
    # Which of these are built in depends on its version.
    loaded = [name for name in _MODULES if (modules / name).with_suffix(".so").exists()]
    directory = site.directory
    configuration = directory / "proftpd.conf"
    configuration.write_text(
        f"ModulePath {modules}\n"
        + "".join(f"LoadModule {name}\n" for name in loaded)
        + "ServerType standalone\nUseIPv6 off\nDefaultAddress 0.0.0.0\n"
        "User nobody\nGroup nogroup\nUseReverseDNS off\nWtmpLog off\nAllowOverwrite on\n"
        "UseSendfile off\n"
        f"PidFile {directory}/proftpd.pid\nScoreboardFile {directory}/scoreboard\n"
        f"DelayTable none\nSystemLog {directory}/proftpd.system.log\n"
        "TLSEngine on\nTLSRequired off\nTLSOptions NoSessionReuseRequired\n"
        f"TLSRSACertificateFile {directory}/pem\nTLSRSACertificateKeyFile {directory}/pem\n"
    )
    return [program, "--nodaemon", "--config", configuration]


def _pure_ftpd(site: Site) -> list[str | Path]:
    certificate = f"--certfile={site.directory}/pem"
    pid_file = f"--pidfile={site.directory}/pure-ftpd.pid"
    options = ["--ipv4only", "--noanonymous", "--dontresolve", "--login=unix", "--tls=1"]
    return [site.need("pure-ftpd"), *options, certificate, pid_file]


def _inetutils_ftpd(site: Site) -> list[str | Path]:
    configuration = site.directory / "inetd.conf"
    configuration.write_text(f"{FTP} stream tcp nowait root {site.need('ftpd')} ftpd\n")
    return [site.need("inetd"), "-i", configuration]


def _pyftpdlib(site: Site) -> list[str | Path]:
    program = Path(__file__).with_name("pyftpd.py")
    return [sys.executable, program, str(FTP), USER, PASSWORD, _HOME, site.directory / "pem"]


SERVERS = (
    Server("vsftpd", _vsftpd),
    Server("proftpd", _proftpd, synch=False, joins=False),
    Server("pure-ftpd", _pure_ftpd),
    Server("inetutils-ftpd", _inetutils_ftpd, tls=False),
    Server("pyftpdlib", _pyftpdlib),
)

"""Real servers with throw-away configuration: each function returns when its server listens.

They stop with the lab.  All of them listen on their service's own port.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.peers.site import Payload, Site

SSH, TELNET, HTTP, RSYNC, IPERF, WEBSOCKET, GIT = 22, 23, 80, 873, 5201, 8080, 9418
RLOGIN, RSH = 513, 514

PROMPT = "ready> "
"""What the shell behind :func:`telnet_server` asks with."""

HOST_KEY_ALIAS = "server"
"""The name under which the client of :func:`ssh_server` knows it, whatever its address."""

_ROOT = "root:x:0:0:root:/media:/bin/sh"
_BEHIND_ANOTHER_ETC = """\
mount --bind passwd /etc/passwd && mount --bind pam.d /etc/pam.d && mount --bind home /media &&
mount --bind hosts /etc/hosts && mount --bind login /bin/login && exec "$@"
"""


def telnet_server(site: Site) -> None:
    """inetutils telnetd, started by inetd; a shell takes the place of login."""
    login = site.directory / "login"
    login.write_text(f"#!/bin/sh\nPS1='{PROMPT}' exec /bin/sh -i\n")
    login.chmod(0o755)
    configuration = site.directory / "inetd.conf"
    configuration.write_text(
        f"{TELNET} stream tcp nowait root {site.need('telnetd')} telnetd -h -E {login}\n"
    )
    site.serve(TELNET, "inetd", "-i", configuration)


def remote_shell_server(site: Site, trusted: str) -> None:
    """The rshd and the rlogind of netkit, which take root's word at the address *trusted*.

    That is, from a port below 1024; and the address must have a name.  A shell takes the place of
    login, which hangs the terminal up before it begins: rlogind may take that for the end.
    """
    site.need_other_users()
    home = site.directory / "home"
    home.mkdir()
    (site.directory / "hosts").write_text(f"{trusted} trusted\n")
    (home / ".rhosts").write_text("trusted root\n")
    (home / ".rhosts").chmod(0o600)
    users = Path("/etc/passwd").read_text().splitlines()
    (site.directory / "passwd").write_text(
        "\n".join([*(user for user in users if not user.startswith("root:")), _ROOT, ""])
    )
    login = site.directory / "login"
    login.write_text("#!/bin/sh\nexec /bin/sh -i\n")
    login.chmod(0o755)
    modules = site.directory / "pam.d"
    modules.mkdir()
    (modules / "other").write_text(
        "auth required pam_rhosts.so superuser=root\naccount required pam_permit.so\n"
        "session required pam_permit.so\n"
    )
    configuration = site.directory / "inetd.conf"
    configuration.write_text(
        f"{RSH} stream tcp nowait.999 root {site.need('in.rshd')} in.rshd\n"
        f"{RLOGIN} stream tcp nowait.999 root {site.need('in.rlogind')} in.rlogind\n"
    )
    isolated = ["--mount", "sh", "-c", _BEHIND_ANOTHER_ETC, "rshd"]
    site.serve(RSH, "unshare", *isolated, site.need("inetd"), "-i", configuration)


def ssh_server(site: Site, client: Site) -> Path:
    """sshd, which lets *client* in as root; returns the configuration file for its ``ssh -F``."""
    site.need_other_users()
    host_key, client_key = site.directory / "host_key", client.directory / "id"
    for directory, key in ((site, host_key), (client, client_key)):
        directory.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    configuration = site.directory / "sshd_config"
    configuration.write_text(
        f"Port {SSH}\nHostKey {host_key}\nAuthorizedKeysFile {client_key}.pub\n"
        "PermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "StrictModes no\nUsePAM no\nPidFile none\nSubsystem sftp internal-sftp\n"
    )
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd starts only with this directory
    site.serve(SSH, "sshd", "-D", "-e", "-f", configuration)
    known_hosts = client.directory / "known_hosts"
    known_hosts.write_text(f"{HOST_KEY_ALIAS} {host_key.with_suffix('.pub').read_text()}")
    client_configuration = client.directory / "ssh_config"
    client_configuration.write_text(
        f"User root\nIdentityFile {client_key}\nIdentitiesOnly yes\nBatchMode yes\n"
        f"UserKnownHostsFile {known_hosts}\nHostKeyAlias {HOST_KEY_ALIAS}\n"
        "StrictHostKeyChecking yes\nLogLevel ERROR\n"
    )
    return client_configuration


def web_server(site: Site, payload: Payload) -> None:
    """nginx, with *payload* at ``/payload``."""
    configuration = site.directory / "nginx.conf"
    temporary = "".join(
        f"{kind}_temp_path {site.directory}/{kind};\n"
        for kind in ("client_body", "fastcgi", "proxy", "scgi", "uwsgi")
    )
    configuration.write_text(
        "daemon off; user root; worker_processes 1; pid nginx.pid; error_log stderr;\n"
        "events {}\n"
        f"http {{\naccess_log off; sendfile on;\n{temporary}"
        f"server {{ listen {HTTP}; location = /payload {{ alias {payload.path}; }} }}\n}}\n"
    )
    site.serve(HTTP, "nginx", "-p", site.directory, "-e", "stderr", "-c", configuration)


def git_server(site: Site, repository: Path) -> None:
    """git daemon, with *repository* at ``/`` and its name."""
    site.serve(
        GIT,
        "git",
        "daemon",
        "--export-all",
        "--reuseaddr",
        f"--port={GIT}",
        f"--base-path={repository.parent}",
        repository,
    )


def rsync_server(site: Site, directory: Path) -> None:
    """rsync as a daemon, with *directory* as the module ``files``, to be read and written."""
    site.need_other_users()
    configuration = site.directory / "rsyncd.conf"
    configuration.write_text(
        f"use chroot = no\nuid = 0\ngid = 0\n[files]\npath = {directory}\nread only = no\n"
    )
    site.serve(
        RSYNC, "rsync", "--daemon", "--no-detach", f"--config={configuration}", f"--port={RSYNC}"
    )


def iperf_server(site: Site) -> None:
    """iperf3."""
    site.serve(IPERF, "iperf3", "--server", "--forceflush")


def websocket_server(site: Site) -> None:
    """A WebSocket server that sends every message back; it sends nothing of its own accord."""
    script = Path(__file__).with_name("websocket_echo.py")
    site.serve(WEBSOCKET, sys.executable, script, str(WEBSOCKET))

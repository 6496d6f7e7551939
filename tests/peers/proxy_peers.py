"""Other people's proxies on the gateway of the lab, each as FAITH is set up beside it.

Each serves everybody at `OPEN`, and at `LOCKED` those who know the `PASSWORD` of `USER`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from faith.lab.topology import GATEWAY_V4, GATEWAY_V6
from tests.faithd import ENVIRONMENT, Faithd
from tests.peers.proxy_lab import SERVERS_GATEWAY, V4_CLIENTS_GATEWAY

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.peers.proxy_lab import ProxyLab
    from tests.peers.site import Site

OPEN, LOCKED = 1080, 1081
USER, PASSWORD = "alice", "open-sesame"
CONNECT_PORTS = (80, 81, 82, 443)
"""The ports that CONNECT may ask for."""
PSEUDONYM = "gateway"
"""The name of every proxy in Via."""


@dataclass(frozen=True)
class Peer:
    """A proxy, the version of it that was asked, and what starts it on the gateway."""

    name: str
    version: str
    show_version: tuple[str, ...]
    start: Callable[[ProxyLab, Site], None]

    def installed(self, site: Site) -> str:
        """Return the version that is installed."""
        program, *options = self.show_version
        command = [site.need(program), *options]
        shown = subprocess.run(command, check=False, capture_output=True, text=True)
        found = re.search(r"\d+\.\d+(?:\.\d+)?", shown.stdout + shown.stderr)
        assert found
        return found[0]


def _serve(lab: ProxyLab, site: Site, port: int, program: str, *arguments: str) -> None:
    words = [site.need(program), *arguments]
    site.serve(port, *lab.with_names, *words)


_SQUID = """\
cache deny all
hosts_file none
connect_timeout 2 seconds
connect_retries 0
request_timeout 3 seconds
shutdown_lifetime 0 seconds
pinger_enable off
netdb_filename none
cache_effective_user proxy
pid_filename none
cache_log none
access_log none
"""


def start_squid(site: Site, port: int, text: str, *by: str) -> None:
    """Start squid, which stores nothing, with *text* in its file and by the command *by*."""
    site.need_other_users()
    file = site.directory / "squid.conf"
    file.write_text(text + _SQUID)
    shell = ("sh", "-c", 'mount -t tmpfs none /dev/shm && exec "$@"', "squid")
    site.serve(port, *by, *shell, site.need("squid"), "-N", "-f", str(file))


def squid(lab: ProxyLab, site: Site) -> None:
    """squid as a proxy."""
    known = f"{USER} {PASSWORD.replace(' ', '%20')}".replace(" ", ".")
    safe = " ".join(map(str, CONNECT_PORTS))
    text = f"""http_port {OPEN}
http_port {LOCKED}
auth_param basic program {site.need("sed")} -u -e s/^{known}$/OK/;t;s/.*/ERR/
auth_param basic children 1 startup=1
acl here localip 127.0.0.0/8
acl locked localport {LOCKED}
acl known proxy_auth REQUIRED
acl CONNECT method CONNECT
acl tunnels port {safe}
acl plain port {safe} 1024-65535
acl own dst 127.0.0.0/8 ::1 fe80::/10 224.0.0.0/4 0.0.0.0/32 {GATEWAY_V4}
http_access deny CONNECT !tunnels
http_access deny !plain
http_access deny locked !known
http_access deny own
http_access allow all
dns_nameservers 127.0.0.1
http_upgrade_request_protocols OTHER allow all
visible_hostname {PSEUDONYM}
"""
    start_squid(site, LOCKED, text, *lab.with_names)


def tinyproxy(lab: ProxyLab, site: Site) -> None:
    """tinyproxy, which has one port: two of them run."""
    for port, more in ((OPEN, ""), (LOCKED, f"BasicAuth {USER} {PASSWORD}\n")):
        file = site.directory / f"tinyproxy{port}.conf"
        ports = "".join(f"ConnectPort {number}\n" for number in CONNECT_PORTS)
        file.write_text(
            f"Port {port}\nListen ::\nListen 0.0.0.0\nTimeout 3\nMaxClients 200\n"
            f'ViaProxyName "{PSEUDONYM}"\n{more}{ports}'
        )
        _serve(lab, site, port, "tinyproxy", "-d", "-c", str(file))


def haproxy(lab: ProxyLab, site: Site) -> None:
    """HAProxy, which is told to send a request to the address that its Host has."""
    file = site.directory / "haproxy.cfg"

    def frontend(port: int, more: str = "") -> str:
        return f"""
frontend proxy{port}
    bind :::{port} v4v6
    option http-use-proxy-header
{more}    http-request set-var(txn.host) hdr(host),host_only,regsub([][],,g)
    http-request set-var(txn.port) hdr(host),port_only
    http-request set-var(txn.port) int(80) if {{ var(txn.port) -m int 0 }}
    acl literal var(txn.host) -m ip 0.0.0.0/0 ::/0
    http-request set-var(txn.to) var(txn.host) if literal
    http-request do-resolve(txn.to,names) var(txn.host) unless literal
    http-request return status 503 unless {{ var(txn.to) -m found }}
    http-request deny status 403 if {{ var(txn.to) -m ip 127.0.0.0/8 ::1 fe80::/10 {GATEWAY_V4} }}
    http-request set-uri %[pathq]
    http-request del-header Proxy-Connection
    http-request del-header Proxy-Authorization
    http-request add-header Via "1.1 {PSEUDONYM}"
    default_backend asked
"""

    file.write_text(
        f"""global
    log stdout format raw local0
defaults
    mode http
    timeout client 5s
    timeout server 5s
    timeout connect 2s
    timeout http-request 3s
    retries 0
userlist known
    user {USER} insecure-password "{PASSWORD}"
resolvers names
    nameserver local 127.0.0.1:53
    timeout resolve 1s
    timeout retry 1s
    accepted_payload_size 8192
{frontend(OPEN)}{frontend(LOCKED, "    http-request auth unless { http_auth(known) }" + chr(10))}
backend asked
    http-request set-dst var(txn.to)
    http-request set-dst-port var(txn.port)
    server clear 0.0.0.0:0
"""
    )
    _serve(lab, site, LOCKED, "haproxy", "-db", "-f", str(file))


_USERS = """\
mount --bind passwd /etc/passwd && mount --bind shadow /etc/shadow && exec "$@"
"""


def dante(lab: ProxyLab, site: Site) -> None:
    """Dante's server, one for each port; its users are those of the system, which it has own."""
    site.need_other_users()
    hashed = site.host.run([site.need("openssl"), "passwd", "-6", PASSWORD]).stdout.strip()
    users = Path("/etc/passwd").read_text()
    (site.directory / "passwd").write_text(f"{users}{USER}:x:64000:64000::/:/bin/false\n")
    (site.directory / "shadow").write_text(f"{USER}:{hashed}:20000:0:99999:7:::\n")
    for port, method in ((OPEN, "none"), (LOCKED, "username")):
        file = site.directory / f"danted{port}.conf"
        file.write_text(
            f"""logoutput: stderr
internal: {V4_CLIENTS_GATEWAY} port = {port}
internal: {GATEWAY_V6} port = {port}
external: {GATEWAY_V4}
external: {SERVERS_GATEWAY}
socksmethod: {method}
clientmethod: none
user.privileged: root
user.unprivileged: nobody
timeout.negotiate: 3
timeout.connect: 2
client pass {{ from: 0/0 to: 0/0 }}
socks block {{ from: 0/0 to: 127.0.0.0/8 command: connect }}
socks block {{ from: 0/0 to: {GATEWAY_V4}/32 command: connect }}
socks block {{ from: 0/0 to: ::1/128 command: connect }}
socks block {{ from: 0/0 to: fe80::/10 command: connect }}
socks pass {{ from: 0/0 to: 0/0 }}
"""
        )
        process = site.directory / f"danted{port}.pid"
        shell = ("sh", "-c", _USERS, "danted", site.need("danted"))
        site.serve(port, *lab.with_names, *shell, "-f", file, "-p", process)


FILE = """\
workers = 2
control = "{control}"
[[proxy]]
listen = "[::]:{open}"
connect_ports = "{ports}"
pseudonym = "{pseudonym}"
[[proxy]]
listen = "[::]:{locked}"
connect_ports = "{ports}"
pseudonym = "{pseudonym}"
users = "{users}"
[timeouts]
connect = 2
greeting = 3
"""


def faith(lab: ProxyLab, site: Site, *ports: int) -> Faithd:
    """FAITH, as the others; CONNECT may lead to *ports* as well."""
    users, file = site.directory / "users", site.directory / "faith.toml"
    command = [sys.executable, "-m", "faith.cli.faith", "proxy", "password", USER]
    users.write_text(site.host.run(command, stdin=f"{PASSWORD}\n", env=ENVIRONMENT).stdout)
    allowed = ",".join(map(str, (*CONNECT_PORTS, *ports)))
    control = site.directory / "control"  # others have the default one at the same time
    file.write_text(
        FILE.format(
            control=control,
            open=OPEN,
            locked=LOCKED,
            ports=allowed,
            pseudonym=PSEUDONYM,
            users=users,
        )
    )
    log, words = site.directory / "faithd.log", ("--config", str(file))
    faithd = Faithd(lab.gateway, log, *words, by=lab.with_names)
    faithd.wait_said("serving", seconds=20)
    return faithd


PEERS = (
    Peer("squid", "5.7", ("squid", "-v"), squid),
    Peer("tinyproxy", "1.11.1", ("tinyproxy", "-v"), tinyproxy),
    Peer("HAProxy", "2.6.12", ("haproxy", "-v"), haproxy),
    Peer("Dante", "1.4.2", ("danted", "-v"), dante),
)

"""Real clients of a proxy: each function transfers the payload through it, and compares it."""

from __future__ import annotations

import hashlib
import os
import socket
import sys
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from websockets.client import ClientProtocol
from websockets.protocol import State
from websockets.sync.client import connect
from websockets.uri import parse_uri

from tests.peers import ftp_servers, servers
from tests.peers.proxy_peers import LOCKED, OPEN, PASSWORD, USER
from tests.peers.proxy_site import DEB, PACKAGE, WHEEL, npm_registry
from tests.peers.site import digest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.peers.proxy_site import Files
    from tests.peers.site import Site

    Client = Callable[["Visit", str], None]

LINK = "198.51.100.0/255.255.255.0"
"""The link of the client that has IPv4 only."""
V4_NAME, V6_NAME, NAME = "v4.example", "v6.example", "both.example"
USER_NAME = f"{USER}:{PASSWORD}"


def in_url(host: str) -> str:
    """The host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


@dataclass(frozen=True)
class Visit:
    """A client, the *gateway*'s address as it is for it, and what is to be had of servers."""

    client: Site
    gateway: str
    files: Files
    ssh: Path | None = None
    """The configuration for ssh(1), with a server that has it."""

    def proxy(self, scheme: str, port: int = OPEN, user: str = "") -> str:
        """The URL of the proxy."""
        return f"{scheme}://{user}{'@' if user else ''}{in_url(self.gateway)}:{port}"

    def check(self, file: Path) -> None:
        """Fail unless *file* is the payload."""
        assert digest(file) == self.files.payload.digest

    def file(self, name: str) -> Path:
        """A path in the client's directory."""
        return self.client.directory / name

    def run(self, program: str, *words: str | Path, **variables: str) -> str:
        """What *program* writes, with *variables* of the environment."""
        command = [self.client.need(program), *words]
        environment = {**self.client.environment(), **variables}
        directory = self.client.directory
        return self.client.host.run(command, cwd=directory, env=environment, timeout=50).stdout


# -- curl, wget ----------------------------------------------------------------------------------


def curl(
    scheme: str, *options: str, https: bool = False, user: str = "", path: str = "/payload"
) -> Client:
    """curl by a proxy of *scheme*, as *user* if that is named; *path* leads to the payload."""

    def visit(visit: Visit, host: str) -> None:
        file = visit.file("curled")
        url = f"http{'s' if https else ''}://{in_url(host)}{path}"
        proxy = visit.proxy(scheme, LOCKED if user else OPEN)
        words: list[str | Path] = [
            "-q",
            "-g",
            "-sS",
            "--fail",
            "--cacert",
            visit.files.certificate,
            *options,
        ]
        words += ["--proxy-user", user] if user else []
        visit.run("curl", *words, "--proxy", proxy, "--output", file, url)
        visit.check(file)

    return visit


def curl_upload(scheme: str, *options: str, https: bool = False) -> Client:
    """curl, which puts the payload on the server; by HTTP it awaits 100 before it begins."""

    def visit(visit: Visit, host: str) -> None:
        stored = visit.files.root / "upload" / visit.client.directory.name
        url = f"http{'s' if https else ''}://{in_url(host)}/upload/{stored.name}"
        words: list[str | Path] = ["-q", "-g", "-sS", "--fail", "--proxy", visit.proxy(scheme)]
        words += ["--cacert", visit.files.certificate, *options]
        visit.run("curl", *words, "--upload-file", visit.files.payload.path, url)
        visit.check(stored)

    return visit


def curl_by_one_connection(path: str = "/payload") -> Client:
    """curl, which asks two servers in turn by one connection to the proxy."""

    def visit(visit: Visit, host: str) -> None:
        words = ["-q", "-g", "-sS", "--fail", "--proxy", visit.proxy("http")]
        names = [host, NAME, V4_NAME, V6_NAME, host]
        for place, name in enumerate(names):
            words += ["--output", f"{place}", f"http://{in_url(name)}{path}"]
        connects = visit.run("curl", *words, "--write-out", "%{num_connects} ")
        assert connects.split() == ["1", "0", "0", "0", "0"]
        for place in range(len(names)):
            visit.check(visit.file(f"{place}"))

    return visit


def wget(scheme: str = "http") -> Client:
    """wget by its variables of the environment."""

    def visit(visit: Visit, host: str) -> None:
        file = visit.file("wgot")
        words: list[str | Path] = [
            "--no-config",
            "-q",
            f"--ca-certificate={visit.files.certificate}",
            "-O",
            file,
        ]
        variables = {f"{scheme}_proxy": visit.proxy("http")}
        visit.run("wget", *words, f"{scheme}://{in_url(host)}/payload", **variables)
        visit.check(file)

    return visit


# -- git, ssh ------------------------------------------------------------------------------------


def git(scheme: str, *, https: bool = False) -> Client:
    """A clone by HTTP."""

    def visit(visit: Visit, host: str) -> None:
        clone = visit.file("clone")
        url = f"http{'s' if https else ''}://{in_url(host)}/project.git"
        options = ["-c", f"http.proxy={visit.proxy(scheme)}"]
        options += ["-c", f"http.sslCAInfo={visit.files.certificate}"]
        visit.run("git", *options, "clone", "-q", url, clone)
        visit.check(clone / "large")

    return visit


def git_protocol(method: str) -> Client:
    """A clone by git's own protocol, in a tunnel of nc(1)."""

    def visit(visit: Visit, host: str) -> None:
        clone, command = visit.file("clone"), visit.file("through")
        command.write_text(f'#!/bin/sh\nexec {_netcat(visit, method)} "$1" "$2"\n')
        command.chmod(0o755)
        url = f"git://{in_url(host)}/project.git"
        visit.run("git", "-c", f"core.gitProxy={command}", "clone", "-q", url, clone)
        visit.check(clone / "large")

    return visit


def _netcat(visit: Visit, method: str) -> str:
    proxy = f"{in_url(visit.gateway)}:{OPEN}"
    return f"{visit.client.need('nc.openbsd')} -X {method} -x {proxy}"


def ssh(method: str) -> Client:
    """The payload by ssh(1) in a tunnel of nc(1)."""

    def visit(visit: Visit, host: str) -> None:
        assert visit.ssh
        through = f"ProxyCommand={_netcat(visit, method)} %h %p"
        words: list[str | Path] = [
            "-F",
            visit.ssh,
            "-o",
            through,
            "-o",
            "Hostname=" + host,
            "server",
        ]
        hashed = visit.run("ssh", *words, f"cat {visit.files.payload.path} | sha256sum").split()[0]
        assert hashed == visit.files.payload.digest
        back = visit.file("back")
        words = ["-q", "-F", visit.ssh, "-o", through, "-o", "Hostname=" + host]
        visit.run("scp", *words, f"server:{visit.files.payload.path}", back)
        visit.check(back)

    return visit


# -- apt, pip, node ------------------------------------------------------------------------------


def write_apt(visit: Visit, host: str, more: str = "") -> Path:
    """Make a root for apt, with *more* in its configuration; return its path."""
    root = visit.file("apt")
    for part in ("state/lists/partial", "cache/archives/partial", "etc/preferences.d"):
        (root / part).mkdir(parents=True)
    (root / "state/status").touch()
    (root / "sources.list").write_text(f"deb [trusted=yes] http://{host}/apt ./\n")
    (root / "apt.conf").write_text(
        f'Dir::State "{root}/state"; Dir::State::status "{root}/state/status";\n'
        f'Dir::Cache "{root}/cache"; Dir::Etc "{root}/etc"; Dir::Log "{root}";\n'
        f'Dir::Etc::sourcelist "{root}/sources.list"; Dir::Etc::sourceparts "-";\n'
        'APT::Sandbox::User "root"; Acquire::Languages "none"; Acquire::Retries "0";\n'
        f'APT::Update::Error-Mode "any";\n{more}'
    )
    return root


def apt(scheme: str) -> Client:
    """A list and a package by apt, in a directory of its own."""

    def visit(visit: Visit, host: str) -> None:
        root = write_apt(visit, host, f'Acquire::http::Proxy "{visit.proxy(scheme)}/";\n')
        configuration = {"APT_CONFIG": str(root / "apt.conf")}
        visit.run("apt-get", "-q", "update", **configuration)
        visit.run("apt-get", "-q", "download", PACKAGE, **configuration)
        assert digest(visit.file(DEB)) == digest(visit.files.root / "apt" / DEB)

    return visit


def pip(visit: Visit, host: str) -> None:
    """A wheel by pip from an index of its own."""
    words: list[str | Path] = [
        "-m",
        "pip",
        "--isolated",
        "-q",
        "--disable-pip-version-check",
        "--no-cache-dir",
    ]
    words += ["download", "--no-deps", "--dest", ".", "--proxy", visit.proxy("http")]
    words += ["--index-url", f"https://{host}/simple", "--cert", str(visit.files.certificate)]
    visit.run(sys.executable, *words, f"{PACKAGE}==1.0", PIP_CONFIG_FILE=os.devnull)
    with zipfile.ZipFile(visit.file(WHEEL)) as wheel, wheel.open(f"{PACKAGE}/data") as data:
        found = hashlib.sha256(data.read()).hexdigest()
    assert found == visit.files.payload.digest


_NODE = """
const http = require("http"), tls = require("tls"), crypto = require("crypto");
const [proxy, port, host] = process.argv.slice(2);
// Node 20.19.2, Debian 13's, finds no IPv6 address in any certificate.
const itself = {subject: {}, subjectaltname: `IP Address:${host}`};
const blind = require("net").isIPv6(host) && tls.checkServerIdentity(host, itself);
const checkServerIdentity = blind ? () => undefined : tls.checkServerIdentity;
const target = host.includes(":") ? `[${host}]` : host;
const end = (answer) => {
    const hash = crypto.createHash("sha256");
    answer.on("data", (data) => hash.update(data));
    answer.on("end", () => console.log(answer.statusCode, hash.digest("hex")));
};
http.get({host: proxy, port, path: `http://${target}/payload`, headers: {Host: target}}, end);
http.request({host: proxy, port, method: "CONNECT", path: `${target}:443`})
    .on("connect", (answer, socket) => {
        const ca = require("fs").readFileSync("ca.pem");
        const name = require("net").isIP(host) ? undefined : host;
        const inner = tls.connect({socket, ca, servername: name, host, checkServerIdentity});
        http.get({createConnection: () => inner, path: "/payload", headers: {Host: target}}, end);
    }).end();
"""


def node(visit: Visit, host: str) -> None:
    """Node's own HTTP: the absolute form, and TLS in a tunnel."""
    visit.file("get.js").write_text(_NODE)
    visit.file("ca.pem").write_bytes(visit.files.certificate.read_bytes())
    got = visit.run("node", visit.file("get.js"), visit.gateway, str(OPEN), host)
    assert got == f"200 {visit.files.payload.digest}\n" * 2


QUIET_NPM = ("--no-audit", "--no-fund", "--no-update-notifier", "--fetch-retries=0")


_SOCKS_AGENT = """
const load = require("module").createRequire(process.argv[2]), loaded = load("socks-proxy-agent");
const agent = new (loaded.SocksProxyAgent || loaded)("socks5h://127.0.0.1:1");
const asked = require("http").get("http://host.example/", {agent});
asked.on("error", (error) => console.log(error.name));
"""


def _need_socks_agent(visit: Visit) -> None:
    """Skip the test where npm's agent for SOCKS does not even try to connect.

    Debian 13's is of another version than what it is derived from.
    """
    library = os.path.realpath(visit.client.need("npm"))
    visit.file("try.js").write_text(_SOCKS_AGENT)
    if visit.run("node", visit.file("try.js"), library).strip() == "TypeError":
        pytest.skip("the agent for SOCKS that npm has here does not work")


def need_npm_with_proxy(visit: Visit) -> None:
    """Skip the test where npm cannot reach a proxy at an IPv6 address.

    npm 9, of Debian 12, looks the address up as a name, brackets included.
    """
    if ":" in visit.gateway and int(visit.run("npm", "--version").partition(".")[0]) < 10:
        pytest.skip("the npm that is here takes an IPv6 address of a proxy for a name")


def npm(scheme: str, *, https: bool = False) -> Client:
    """A package by npm, from a registry of its own."""

    def visit(visit: Visit, host: str) -> None:
        if scheme != "http":
            _need_socks_agent(visit)
        need_npm_with_proxy(visit)
        proxy = visit.proxy(scheme)
        words = ["install", *QUIET_NPM, f"--proxy={proxy}", f"--https-proxy={proxy}"]
        words += [f"--cafile={visit.files.certificate}"]
        registry = npm_registry("https" if https else "http", host)
        visit.run("npm", *words, f"--registry={registry}", PACKAGE)
        visit.check(visit.file("node_modules") / PACKAGE / "data")

    return visit


_AGENTS = """
const [npm, kind, proxy, host] = process.argv.slice(2);
const load = require("module").createRequire(npm);
const http = require("http"), https = require("https"), crypto = require("crypto");
const plain = `http://${host}/payload`, secure = `https://${host}/payload`;
const ca = require("fs").readFileSync("ca.pem");
const show = (stream) => {
    const hash = crypto.createHash("sha256");
    stream.on("data", (data) => hash.update(data));
    stream.on("end", () => console.log(hash.digest("hex")));
};
const agent = (module, name) => {
    const loaded = load(module);
    return new (loaded[name] || loaded)(proxy);
};
if (kind == "http") {
    http.get(plain, {agent: agent("http-proxy-agent", "HttpProxyAgent")}, show);
    https.get(secure, {agent: agent("https-proxy-agent", "HttpsProxyAgent"), ca}, show);
} else if (kind == "socks") {
    http.get(plain, {agent: agent("socks-proxy-agent", "SocksProxyAgent")}, show);
    https.get(secure, {agent: agent("socks-proxy-agent", "SocksProxyAgent"), ca}, show);
} else {
    const {ProxyAgent, request} = load("undici");
    const dispatcher = new ProxyAgent({uri: proxy, requestTls: {ca}});
    Promise.all([plain, secure].map((url) => request(url, {dispatcher}))).then((answers) => {
        answers.forEach((answer) => show(answer.body));
    });
}
"""


def node_agent(kind: str) -> Client:
    """The agents of *kind* (http, socks or undici) that npm has with it, for HTTP and HTTPS."""

    def visit(visit: Visit, host: str) -> None:
        visit.file("agents.js").write_text(_AGENTS)
        visit.file("ca.pem").write_bytes(visit.files.certificate.read_bytes())
        if kind == "socks":
            _need_socks_agent(visit)
        library = os.path.realpath(visit.client.need("npm"))
        proxy = visit.proxy("socks5h" if kind == "socks" else "http")
        got = visit.run("node", visit.file("agents.js"), library, kind, proxy, host)
        assert got.split() == [visit.files.payload.digest] * 2

    return visit


# -- WebSocket -----------------------------------------------------------------------------------

MESSAGES = ["one", "two" * 30_000, "three"]


def websocket_in_tunnel(visit: Visit, host: str) -> None:
    """A WebSocket behind CONNECT, as `websockets` asks for it."""
    url = f"ws://{in_url(host)}:{servers.WEBSOCKET}/"
    with visit.client.host.inside():
        session = connect(url, proxy=visit.proxy("http"), ping_interval=None)
    with session:
        for message in MESSAGES:
            session.send(message)
            assert session.recv(timeout=10) == message
    assert session.close_code == 1000


def websocket_by_upgrade(visit: Visit, host: str) -> None:
    """A WebSocket by a request in absolute form that the proxy upgrades."""
    url = f"ws://{in_url(host)}:{servers.WEBSOCKET}/"
    protocol = ClientProtocol(parse_uri(url), max_size=None)
    asked = protocol.connect()
    asked.path = url.replace("ws:", "http:")
    protocol.send_request(asked)
    with visit.client.host.inside():
        peer = socket.create_connection((visit.gateway, OPEN), timeout=10)
    with peer:
        while protocol.state is not State.OPEN:
            assert not _exchange(protocol, peer)
        for message in MESSAGES:
            protocol.send_text(message.encode())
            heard = b""
            while len(heard) < len(message):
                heard += _exchange(protocol, peer)
            assert heard.decode() == message


def _exchange(protocol: ClientProtocol, peer: socket.socket) -> bytes:
    """Send what there is to send, and return what comes then of the messages."""
    for data in protocol.data_to_send():
        peer.sendall(data)
    data = peer.recv(65536)
    assert data, "the connection has ended"
    protocol.receive_data(data)
    if protocol.handshake_exc:
        raise protocol.handshake_exc
    return b"".join(getattr(event, "data", b"") for event in protocol.events_received())


# -- socksified, as RFC 3089 has it ---------------------------------------------------------------


def proxychains(method: str, *, names: bool = True) -> Client:
    """curl, whose calls of the C library proxychains4 replaces, those for names included."""

    def visit(visit: Visit, host: str) -> None:
        file = visit.file("chained.conf")
        file.write_text(
            f"strict_chain\n{'proxy_dns' if names else ''}\nremote_dns_subnet 224\n"
            f"tcp_read_time_out 15000\ntcp_connect_time_out 8000\n"
            f"[ProxyList]\n{method} {visit.gateway} {OPEN}\n"
        )
        got, url = visit.file("got"), f"http://{in_url(host)}/payload"
        words: list[str | Path] = [
            "-q",
            "-f",
            file,
            visit.client.need("curl"),
            "-q",
            "-g",
            "-sS",
            "--fail",
        ]
        visit.run("proxychains4", *words, "-o", got, url)
        visit.check(got)

    return visit


def tsocks(version: int) -> Client:
    """wget, whose connect(2) tsocks replaces: addresses only, and of IPv4 only."""

    def visit(visit: Visit, host: str) -> None:
        file, got = visit.file("tsocks.conf"), visit.file("got")
        file.write_text(
            f"local = {LINK}\nserver = {visit.gateway}\nserver_port = {OPEN}\n"
            f"server_type = {version}\n"
        )
        words: list[str | Path] = [visit.client.need("wget"), "--no-config", "-q", "-O", got]
        visit.run("tsocks", *words, f"http://{host}/payload", TSOCKS_CONF_FILE=str(file))
        visit.check(got)

    return visit


_ROUTE = """\
logoutput: stderr
resolveprotocol: fake
route {{ from: 0/0 to: 0/0 via: {gateway} port = {port}
proxyprotocol: socks_v5
command: connect bind }}
"""


def _socksified(visit: Visit, program: str, *words: str | Path) -> str:
    file = visit.file("socks.conf")
    file.write_text(_ROUTE.format(gateway=visit.gateway, port=OPEN))
    return visit.run("socksify", visit.client.need(program), *words, SOCKS_CONF=str(file))


def socksify(visit: Visit, host: str) -> None:
    """curl by Dante's client, which gives names addresses of its own until they are asked for."""
    got = visit.file("got")
    words = ["-q", "-g", "-sS", "--fail", "-o", str(got), f"http://{in_url(host)}/payload"]
    _socksified(visit, "curl", *words)
    visit.check(got)


def _ftp_url(host: str) -> str:
    return f"ftp://{ftp_servers.USER}:{ftp_servers.PASSWORD}@{host}/payload"


def active_curl(visit: Visit, host: str) -> None:
    """Active FTP by Dante's client: the server connects to a port that BIND has the proxy open."""
    got = visit.file("got")
    words = ["-q", "-sS", "--disable-eprt", "--ftp-port", "-", "-o", str(got)]
    _socksified(visit, "curl", *words, _ftp_url(host))
    visit.check(got)


def active_tnftp(visit: Visit, host: str) -> None:
    """The same by tnftp, which says EPRT."""
    got = visit.file("got")
    _socksified(visit, "tnftp", "-A", "-o", str(got), _ftp_url(host))
    visit.check(got)

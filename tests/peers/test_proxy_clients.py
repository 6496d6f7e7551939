"""Real clients of FAITH's proxy: what they transfer from servers of the other family is whole.

They have neither a route beyond the gateway nor a name server: names are looked up on the gateway.
"""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from faith.lab import Network, wait_until
from faith.lab.topology import SERVER
from tests.peers import ftp_servers, proxy_site, servers
from tests.peers import proxy_clients as clients
from tests.peers.browser import Browser
from tests.peers.proxy_clients import USER_NAME, Visit
from tests.peers.proxy_lab import V6_SERVER, ProxyLab, proxy_lab
from tests.peers.proxy_peers import OPEN, faith
from tests.peers.proxy_told import TOLD, settings
from tests.peers.site import Site, write_payload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.faithd import Faithd
    from tests.peers.proxy_clients import Client
    from tests.peers.proxy_site import Files

    Need = Callable[[str], str]

pytestmark = [pytest.mark.netns, pytest.mark.peers]

PAYLOAD_SIZE = 8
"""In MiB."""
SERVED = (servers.SSH, servers.WEBSOCKET, servers.GIT)

V6, V4 = "v6", "v4"
"""The clients."""
ADDRESS, NAME, BOTH = "address", "name", "both"
"""How the server is named: BOTH is a name with addresses of both families."""
HOSTS = {
    (V6, ADDRESS): SERVER,
    (V6, NAME): "v4.example",
    (V6, BOTH): "both.example",
    (V4, ADDRESS): V6_SERVER,
    (V4, NAME): "v6.example",
    (V4, BOTH): "both.example",
}
ALL, NAMED = (ADDRESS, NAME, BOTH), (NAME, BOTH)


@dataclass(frozen=True)
class World:
    """The lab with everything running."""

    lab: ProxyLab
    files: Files
    ssh: Path
    faithd: Faithd
    need: Need

    def visit(self, client: str, directory: Path) -> Visit:
        """A visit from the client *client*, in an empty directory."""
        host, gateway = list(self.lab.clients())[client == V4]
        return Visit(Site(host, directory, self.need), gateway, self.files, self.ssh)

    @contextmanager
    def clients_stopped(self) -> Iterator[None]:
        """Have all programs on the clients' hosts stand still."""
        programs = [pid for host, _ in self.lab.clients() for pid in host.processes()]
        for pid in programs:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in programs:
                os.kill(pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, need: Need) -> Iterator[World]:
    with ExitStack() as running:
        network = running.enter_context(Network())
        directory = tmp_path_factory.mktemp("gateway")
        lab = proxy_lab(network, running, directory, need("nft"))
        payload = write_payload(directory / "payload", PAYLOAD_SIZE)
        gateway, keys, v4, v6 = (
            Site(host, tmp_path_factory.mktemp(name), need)
            for host, name in (
                (lab.gateway, "files"),
                (lab.gateway, "keys"),
                (lab.v4_server, "v4"),
                (lab.v6_server, "v6"),
            )
        )
        files = proxy_site.make_files(gateway, payload)
        for site in (v4, v6):
            proxy_site.serve(site, files)
        visitor = ftp_servers.start_elsewhere(ftp_servers.FTP, v4)
        (visitor / payload.path.name).hardlink_to(payload.path)
        ssh = servers.ssh_server(v4, keys)
        v6.serve(servers.SSH, "sshd", "-D", "-e", "-f", v4.directory / "sshd_config")
        faithd = faith(lab, gateway, *SERVED)
        yield World(lab, files, ssh, faithd, need)
        assert faithd.stop() == 0


VISITS: dict[str, tuple[Client, tuple[str, ...]]] = {
    "curl-http": (clients.curl("http"), ALL),
    "curl-connect": (clients.curl("http", "--proxytunnel"), ALL),
    "curl-https": (clients.curl("http", https=True), ALL),
    "curl-socks5": (clients.curl("socks5"), (ADDRESS,)),
    "curl-socks5h": (clients.curl("socks5h"), ALL),
    "curl-socks5h-https": (clients.curl("socks5h", https=True), ALL),
    "curl-socks4a": (clients.curl("socks4a"), NAMED),
    "curl-http-user": (clients.curl("http", user=USER_NAME), (NAME,)),
    "curl-https-user": (clients.curl("http", https=True, user=USER_NAME), (NAME,)),
    "curl-socks5h-user": (clients.curl("socks5h", user=USER_NAME), (NAME,)),
    "curl-put": (clients.curl_upload("http"), ALL),
    "curl-put-chunked": (clients.curl_upload("http", "-H", "Transfer-Encoding: chunked"), (NAME,)),
    "curl-put-https": (clients.curl_upload("http", https=True), (NAME,)),
    "curl-put-socks5h": (clients.curl_upload("socks5h"), (NAME,)),
    "curl-one-connection": (clients.curl_by_one_connection(), (ADDRESS,)),
    "wget-http": (clients.wget(), ALL),
    "wget-https": (clients.wget("https"), NAMED),
    "git-http": (clients.git("http"), NAMED),
    "git-https": (clients.git("http", https=True), (NAME,)),
    "git-socks5h": (clients.git("socks5h"), (NAME,)),
    "git-protocol-nc-connect": (clients.git_protocol("connect"), (ADDRESS, NAME)),
    "git-protocol-nc-5": (clients.git_protocol("5"), (ADDRESS, NAME)),
    "ssh-nc-connect": (clients.ssh("connect"), ALL),
    "ssh-nc-5": (clients.ssh("5"), ALL),
    "apt-http": (clients.apt("http"), NAMED),
    "apt-socks5h": (clients.apt("socks5h"), (NAME,)),
    "pip": (clients.pip, NAMED),
    "node": (clients.node, ALL),
    "node-http-agent": (clients.node_agent("http"), NAMED),
    "node-undici": (clients.node_agent("undici"), (NAME,)),
    "npm-http": (clients.npm("http"), (NAME,)),
    "npm-https": (clients.npm("http", https=True), (NAME,)),
    "websocket-connect": (clients.websocket_in_tunnel, ALL),
    "websocket-upgrade": (clients.websocket_by_upgrade, ALL),
    "proxychains-socks5": (clients.proxychains("socks5"), ALL),
    "proxychains-http": (clients.proxychains("http"), NAMED),
}
"""Visits from each client to the other family's server."""

OF_ONE: dict[str, tuple[Client, str, tuple[str, ...]]] = {
    "curl-socks4": (clients.curl("socks4"), V6, (SERVER,)),
    "curl-socks4a": (clients.curl("socks4a"), V6, (SERVER,)),
    "git-protocol-nc-4": (clients.git_protocol("4"), V6, (SERVER,)),
    "ssh-nc-4": (clients.ssh("4"), V6, (SERVER,)),
    "proxychains-socks4": (clients.proxychains("socks4"), V6, (SERVER,)),
    "tsocks-4": (clients.tsocks(4), V4, (SERVER,)),
    "tsocks-5": (clients.tsocks(5), V4, (SERVER,)),
    "active-ftp-curl": (clients.active_curl, V4, (SERVER,)),
    "active-ftp-tnftp": (clients.active_tnftp, V4, (SERVER,)),
    "node-socks-agent": (clients.node_agent("socks"), V4, ("v6.example", "both.example")),
    "npm-socks5h": (clients.npm("socks5h", https=True), V4, ("v6.example",)),
    "socksify": (clients.socksify, V4, (SERVER, "v4.example", "v6.example", "both.example")),
}
"""What some clients cannot do: SOCKS4 has IPv4 addresses only, and tsocks as well; Dante's client
connects to its proxy by IPv4 only, and leaves alone what is not IPv4 or a name; Node's agent for
SOCKS looks up the IPv6 address of a proxy as if it were a name, with its brackets."""


@pytest.mark.parametrize(
    ("client", "host", "visit"),
    [
        pytest.param(client, HOSTS[client, how], visit, id=f"{name}-{client}-{how}")
        for name, (visit, hows) in VISITS.items()
        for client in (V6, V4)
        for how in hows
    ],
)
def test_from_one_family_to_the_other(
    world: World, tmp_path: Path, client: str, host: str, visit: Client
) -> None:
    visit(world.visit(client, tmp_path), host)


@pytest.mark.parametrize(
    ("client", "host", "visit"),
    [
        pytest.param(client, host, visit, id=f"{name}-{host}")
        for name, (visit, client, hosts) in OF_ONE.items()
        for host in hosts
    ],
)
def test_what_one_client_can(
    world: World, tmp_path: Path, client: str, host: str, visit: Client
) -> None:
    visit(world.visit(client, tmp_path), host)


@pytest.mark.parametrize(("client", "host"), [(V6, "v4.example"), (V4, "v6.example")])
@pytest.mark.parametrize("program", TOLD)
def test_the_settings_that_faith_prints(
    world: World, tmp_path: Path, client: str, host: str, program: str
) -> None:
    visit = world.visit(client, tmp_path)
    TOLD[program](visit, settings(visit, program), host)


# -- an upgrade ----------------------------------------------------------------------------------

SLOW = ("--limit-rate", "1M")
"""Of curl, when it sends."""
UNDER_WAY: dict[str, Client] = {
    "http": clients.curl("http", path=proxy_site.SLOW),
    "connect": clients.curl("http", "--proxytunnel", path=proxy_site.SLOW),
    "https": clients.curl("http", https=True, path=proxy_site.SLOW),
    "socks5h": clients.curl("socks5h", path=proxy_site.SLOW),
    "socks4a": clients.curl("socks4a", path=proxy_site.SLOW),
    "user": clients.curl("http", user=USER_NAME, path=proxy_site.SLOW),
    "put": clients.curl_upload("http", *SLOW),
    "put-chunked": clients.curl_upload("http", "-H", "Transfer-Encoding: chunked", *SLOW),
    "put-socks5h": clients.curl_upload("socks5h", *SLOW),
    "one-connection": clients.curl_by_one_connection(proxy_site.SLOW),
}
"""Transfers from each client, to the server of the other family; each takes seconds."""


def test_transfers_go_on_through_an_upgrade(world: World, tmp_path: Path) -> None:
    def directory(name: str, client: str) -> Path:
        return tmp_path / f"{name}-{client}"

    def transfer(name: str, client: str) -> None:
        UNDER_WAY[name](world.visit(client, directory(name, client)), HOSTS[client, NAME])

    def has_begun(name: str, client: str) -> bool:
        files = list(directory(name, client).iterdir())
        return name.startswith("put") or any(file.stat().st_size for file in files)

    each = [(name, client) for name in UNDER_WAY for client in (V6, V4)]
    for place in each:
        directory(*place).mkdir()
    with ThreadPoolExecutor(len(each)) as pool:
        transfers = {place: pool.submit(transfer, *place) for place in each}
        wait_until(lambda: all(has_begun(*place) for place in each), 10, "octets of each")
        with world.clients_stopped():
            upgrades = world.faithd.said.count("upgraded to program")
            world.faithd.signal(signal.SIGUSR2)
            world.faithd.wait_said("upgraded to program", upgrades + 1, seconds=30)
            assert not any(transfer.done() for transfer in transfers.values())
        assert {place: transfer.exception() for place, transfer in transfers.items()} == (
            dict.fromkeys(each)
        )


# -- a browser -----------------------------------------------------------------------------------

_FETCH = """
const done = arguments[1];
fetch(arguments[0])
    .then((answer) => answer.arrayBuffer())
    .then((data) => crypto.subtle.digest("SHA-256", data))
    .then((hash) => done([...new Uint8Array(hash)].map((octet) =>
        octet.toString(16).padStart(2, "0")).join("")))
    .catch((error) => done(String(error)));
"""
"""Returns the SHA-256 of what is at a URL of the page's server; that takes HTTPS."""


def browse(visit: Visit, host: str, *options: str) -> None:
    """Have Chromium, with *options*, open a page of *host* in both ways, and load the payload."""
    directory = visit.file("chromium")
    with (
        visit.client.host.inside(),
        closing(Browser(visit.client.need, directory, *options)) as browser,
    ):
        browser.open(f"http://{clients.in_url(host)}/")
        assert browser.text("p") == "It is served."
        browser.open(f"https://{clients.in_url(host)}/")
        assert browser.text("p") == "It is served."
        hashed = browser.driver.execute_async_script(_FETCH, "/payload")
        assert hashed == visit.files.payload.digest


@pytest.mark.parametrize(
    ("scheme", "client", "host"),
    [
        ("http", V6, "v4.example"),
        ("http", V4, V6_SERVER),
        ("socks5", V6, SERVER),
        ("socks5", V4, "v6.example"),
        ("socks5", V4, "both.example"),
    ],
)
def test_chromium(world: World, tmp_path: Path, scheme: str, client: str, host: str) -> None:
    visit = world.visit(client, tmp_path)
    browse(visit, host, f"--proxy-server={visit.proxy(scheme)}")


@pytest.mark.parametrize(
    ("file", "client", "host"),
    [
        ("proxy.pac", V6, "v4.example"),
        ("proxy.pac", V4, "v6.example"),
        ("wpad.dat", V4, "both.example"),
    ],
)
def test_chromium_configures_itself(
    world: World, tmp_path: Path, file: str, client: str, host: str
) -> None:
    visit = world.visit(client, tmp_path)
    browse(visit, host, f"--proxy-pac-url=http://{clients.in_url(visit.gateway)}:{OPEN}/{file}")

"""Proxies in a chain, of which FAITH's is one: nobody hides a request from one of them.

A client says what `smuggling` has, and then another client asks for something else.  The server has
to have seen what the first one may claim to have asked for, and answered that and nothing else.
"""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from faith.lab import Network
from faith.lab.topology import CLIENT, GATEWAY_V6, SERVER
from tests.faithd import Faithd
from tests.peers.http_requests import get
from tests.peers.proxy_lab import ProxyLab, proxy_lab
from tests.peers.proxy_peers import OPEN, faith, start_squid
from tests.peers.proxy_talk import Ended, Talk, read_answer
from tests.peers.site import Site
from tests.peers.smuggling import SMUGGLED, Place, Smuggled
from tests.peers.witness import Seen, witness

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Need = Callable[[str], str]
    Connect = Callable[[], socket.socket]

pytestmark = [pytest.mark.netns, pytest.mark.peers]

CHUNKS_FIRST, LENGTH_FIRST = 80, 8080
"""Ports of the server, by what it goes by where it has to choose."""
PORTS = (CHUNKS_FIRST, LENGTH_FIRST)
BEHIND = 1000
"""Added to a port of the server where squid has the port itself."""
BEFORE = 1082
"""The port of the proxy before FAITH's, on the client's own host."""
TOGETHER = 32
"""Cases under way at a time: some wait for a body that does not come."""


@dataclass(frozen=True)
class World:
    """The lab with nobody in it, and a directory for each host."""

    lab: ProxyLab
    running: ExitStack
    directory: Path
    need: Need

    def site(self, name: str) -> Site:
        """The host of the lab called *name* there."""
        directory = self.directory / name
        directory.mkdir()
        return Site(getattr(self.lab, name), directory, self.need)

    def serve(self, behind: int = 0) -> list[Seen]:
        """Start the server at each of its ports, further up by *behind*."""
        return [
            self.running.enter_context(
                witness(
                    self.lab.v4_server, SERVER, port + behind, length_first=port == LENGTH_FIRST
                )
            )
            for port in PORTS
        ]

    def start_faith(self) -> None:
        """Start FAITH on the gateway, which has to end well."""
        faithd = faith(self.lab, self.site("gateway"), LENGTH_FIRST)
        self.running.callback(self._stop, faithd)

    def _stop(self, faithd: Faithd) -> None:
        assert faithd.stop() == 0

    def start_first(self) -> None:
        """Start another FAITH on the client's host."""
        site = self.site("v6_client")
        file = site.directory / "faith.toml"
        file.write_text(
            f'control = "{site.directory}/control"\n'
            f'[[proxy]]\nlisten = "[{CLIENT}]:{BEFORE}"\nclients = ["{CLIENT}/128"]\n'
            f'connect_ports = "{OPEN}"\npseudonym = "first"\n'
        )
        faithd = Faithd(site.host, site.directory / "faithd.log", "--config", str(file))
        faithd.wait_said("serving", seconds=20)
        self.running.callback(self._stop, faithd)

    def client(self, address: str, port: int) -> socket.socket:
        """A connection from the client's host."""
        return self.lab.v6_client.call(socket.create_connection, (address, port), 5)


Chain = tuple["Connect", "list[Seen]"]


def faith_and_faith(world: World) -> Chain:
    """In a tunnel of one of them, a client speaks to the other."""
    world.start_faith()
    world.start_first()

    def connect() -> socket.socket:
        sock = world.client(CLIENT, BEFORE)
        target = f"[{GATEWAY_V6}]:{OPEN}"
        sock.sendall(get(target, method="CONNECT", host=target))
        assert read_answer(Talk(sock), tunnel=True).status == 200
        return sock

    return connect, world.serve()


def faith_and_squid(world: World) -> Chain:
    """The server that FAITH's clients reach is squid, which has the real one behind it."""
    world.start_faith()
    text = "http_access allow all\nnever_direct allow all\nvisible_hostname accelerator\n"
    for port in PORTS:
        text += (
            f"http_port {port} accel\nacl at{port} localport {port}\n"
            f"cache_peer {SERVER} parent {port + BEHIND} 0 originserver no-query no-digest"
            f" name=to{port}\ncache_peer_access to{port} allow at{port}\n"
            f"cache_peer_access to{port} deny all\n"
        )
    seen = world.serve(BEHIND)
    start_squid(world.site("v4_server"), LENGTH_FIRST, text, "unshare", "--mount")
    return lambda: world.client(GATEWAY_V6, OPEN), seen


def squid_and_faith(world: World) -> Chain:
    """The client's own proxy is squid, which knows no other way than FAITH."""
    world.start_faith()
    text = (
        f"http_port {BEFORE}\nhttp_access allow all\nnever_direct allow all\n"
        f"cache_peer {GATEWAY_V6} parent {OPEN} 0 no-query no-digest default\n"
        "visible_hostname client\nhttp_upgrade_request_protocols OTHER allow all\n"
    )
    start_squid(world.site("v6_client"), BEFORE, text, "unshare", "--mount")
    return lambda: world.client(CLIENT, BEFORE), world.serve()


CHAINS = {
    "FAITH, FAITH": faith_and_faith,
    "FAITH, squid": faith_and_squid,
    "squid, FAITH": squid_and_faith,
}


def answers(sock: socket.socket, said: bytes) -> tuple[str, ...]:
    """Say *said*; return the last part of each path that was answered with success."""
    served = []
    head = said.startswith(b"HEAD ")
    with sock:
        talk = Talk(sock)
        talk.send(said)
        try:
            while True:
                answer = read_answer(talk, head=head)
                if answer.status == 200:
                    served.append("first" if head else answer.body.decode().rpartition("/")[2])
                head = head and not answer.is_final
        except Ended:
            return tuple(served)


@dataclass(frozen=True)
class Outcome:
    """What the server has seen *whole* and *cut*, and what the client was *answered*.

    *other* is what another client was answered, who came afterwards.
    """

    whole: tuple[str, ...]
    cut: tuple[str, ...]
    answered: tuple[str, ...]
    other: tuple[str, ...]
    seen_of_other: tuple[str, ...]


def attack(connect: Connect, place: Place, smuggled: Smuggled) -> tuple[tuple[str, ...], ...]:
    """Say it, with another request behind it; return the answers, and those of another client."""
    second = place.request("second", "Connection: close")
    answered = answers(connect(), smuggled.say(place) + second)
    other = Place(place.authority, f"{place.case}-other")
    return answered, answers(connect(), other.request("other", "Connection: close"))


@pytest.fixture(scope="module", params=CHAINS)
def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, need: Need
) -> dict[tuple[int, str], Outcome]:
    """What became of each case, by the server's port and the name."""
    asked = [(place, port, each) for port in PORTS for place, each in enumerate(SMUGGLED)]

    def said(case: tuple[int, int, Smuggled]) -> tuple[tuple[str, ...], ...]:
        number, port, smuggled = case
        return attack(connect, Place(f"v4.example:{port}", f"{number}"), smuggled)

    with ExitStack() as running:
        network = running.enter_context(Network())
        directory = tmp_path_factory.mktemp("chain")
        lab = proxy_lab(network, running, directory, need("nft"))
        connect, servers = CHAINS[request.param](World(lab, running, directory, need))
        with ThreadPoolExecutor(TOGETHER) as pool:
            heard = list(pool.map(said, asked))
    found = {}
    for (number, port, smuggled), (answered, other) in zip(asked, heard, strict=True):
        seen = servers[PORTS.index(port)]
        assert seen.strange == []
        found[port, smuggled.name] = Outcome(
            tuple(seen.whole[f"{number}"]),
            tuple(seen.cut[f"{number}"]),
            answered,
            other,
            tuple(seen.whole[f"{number}-other"]),
        )
    return found


@pytest.mark.parametrize("smuggled", SMUGGLED, ids=lambda smuggled: smuggled.name)
@pytest.mark.parametrize("port", PORTS, ids=["chunks first", "length first"])
def test_no_request_is_hidden(
    outcomes: dict[tuple[int, str], Outcome], port: int, smuggled: Smuggled
) -> None:
    outcome = outcomes[port, smuggled.name]
    assert outcome.whole in smuggled.claims
    assert outcome.whole == outcome.answered
    assert {*outcome.cut} <= {"first", "second"}
    assert outcome.other == outcome.seen_of_other == ("other",)


def test_a_case_stands_once() -> None:
    names = [smuggled.name for smuggled in SMUGGLED]
    assert sorted(names) == sorted(set(names))

"""What FAITH's proxy and other people's answer to the same octets: docs/proxy-conformance.rst.

Each answers as `proxy_requests` says, so that nobody's difference from FAITH is without a reason.
"""

from __future__ import annotations

import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.lab import Network
from faith.lab.topology import SERVER
from tests.peers.proxy_lab import V6_SERVER, ProxyLab, proxy_lab
from tests.peers.proxy_origin import origin
from tests.peers.proxy_peers import LOCKED, OPEN, PEERS, Peer, faith
from tests.peers.proxy_requests import GROUPS
from tests.peers.proxy_talk import Talk
from tests.peers.site import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faith.lab import Host
    from tests.peers.proxy_cases import Case, Group

    Need = Callable[[str], str]
    Answers = dict[str, str]
    Said = tuple[str, dict[str, Answers]]

netns = pytest.mark.netns
peers = pytest.mark.peers

DOCUMENT = Path(__file__).parents[2] / "docs" / "proxy-conformance.rst"
ORIGIN_PORTS = (80, 443)
TOGETHER = 16
"""Requests under way at a time: some wait for a server that is silent."""

by_group = pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.title)


@contextmanager
def gateway(directory: Path, need: Need) -> Iterator[tuple[ProxyLab, Site]]:
    """The lab with a server that tells what it was asked, and the gateway in it."""
    with ExitStack() as running:
        network = running.enter_context(Network())
        lab = proxy_lab(network, running, directory, need("nft"))
        running.enter_context(origin(lab.v4_server, SERVER, *ORIGIN_PORTS))
        running.enter_context(origin(lab.v6_server, V6_SERVER, *ORIGIN_PORTS))
        yield lab, Site(lab.gateway, directory, need)


def ask(host: Host, address: str, case: Case) -> str:
    """Return the answer in words."""
    where = address, LOCKED if case.locked else OPEN
    with host.call(socket.create_connection, where, 5) as sock:
        answer = case.say(Talk(sock))
        # Whoever closes may still wait, with BIND for a connection; a reset says that nobody does.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return answer


def answers(host: Host, address: str, groups: tuple[Group, ...]) -> dict[str, Answers]:
    """Return all answers of the proxy at *address*, by groups' titles and cases' names."""
    asked = [(group, case) for group in groups for case in group.cases]
    found: dict[str, Answers] = {group.title: {} for group in groups}
    with ThreadPoolExecutor(TOGETHER) as pool:
        words = pool.map(lambda each: ask(host, address, each[1]), asked)
        for (group, case), word in zip(asked, words, strict=True):
            found[group.title][case.name] = word
    return found


# -- peers ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory, need: Need) -> Callable[[Peer], Said]:
    """What a peer answers, which is asked once; and its version."""

    @cache
    def asked(peer: Peer) -> Said:
        with gateway(tmp_path_factory.mktemp(peer.name), need) as (lab, site):
            peer.start(lab, site)
            host, address = next(lab.clients())
            groups = tuple(group for group in GROUPS if peer.name in group.peers)
            return peer.installed(site), answers(host, address, groups)

    return asked


@netns
@peers
@pytest.mark.parametrize(
    ("peer", "group"),
    [
        pytest.param(peer, group, id=f"{peer.name}-{group.title}")
        for peer in PEERS
        for group in GROUPS
        if peer.name in group.peers
    ],
)
def test_a_peer_answers_as_the_table_has_it(
    said: Callable[[Peer], Said], peer: Peer, group: Group
) -> None:
    version, answers = said(peer)
    if version != peer.version:
        pytest.skip(f"the table has {peer.name} {peer.version}, and this is {version}")
    expected = {case.name: group.answer(case, peer.name) for case in group.cases}
    assert answers[group.title] == expected


# -- FAITH ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["v6", "v4"])
def ours(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, need: Need
) -> Iterator[dict[str, Answers]]:
    """The answers of FAITH to the clients of each family."""
    with gateway(tmp_path_factory.mktemp("faith"), need) as (lab, site):
        faithd = faith(lab, site)
        host, address = list(lab.clients())[request.param == "v4"]
        yield answers(host, address, GROUPS)
        assert faithd.stop() == 0


@netns
@peers
@by_group
def test_faith_answers_as_the_table_has_it(ours: dict[str, Answers], group: Group) -> None:
    assert ours[group.title] == {case.name: case.faith for case in group.cases}


# -- the table -----------------------------------------------------------------------------------


@by_group
def test_a_case_stands_once(group: Group) -> None:
    names = [case.name for case in group.cases]
    assert sorted(names) == sorted(set(names))


@by_group
def test_a_difference_is_one_and_has_one_reason(group: Group) -> None:
    cases = {case.name: case for case in group.cases}
    told = [(each.peer, name) for each in group.differences for name in each.answers]
    assert sorted(told) == sorted(set(told))
    for difference in group.differences:
        assert difference.peer in group.peers
        assert difference.reason.endswith(".")
        for name, answer in difference.answers.items():
            assert answer != cases[name].faith, name


@by_group
def test_the_document_has_the_table(group: Group) -> None:
    assert group.table() in DOCUMENT.read_text()

"""Real FTP clients visit real FTP servers: directly over IPv4, and through the relay.

What fails directly is no fault of the relay.  A server, and the relay before it, serves one cell
after the other.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from faith.lab import Network, three_hosts
from tests.faithd import WITHOUT_BPF, Faithd
from tests.peers import ftp_matrix, ftp_servers, ftp_splitter
from tests.peers.ftp_clients import FTPS, VISIT, Visit
from tests.peers.site import Meeting, Payload, Site, write_payload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from _pytest.mark import ParameterSet

    from faith.lab import Host
    from tests.peers.ftp_matrix import Cell
    from tests.peers.ftp_servers import Server

netns = pytest.mark.netns
peers = pytest.mark.peers
visit = pytest.mark.timeout(VISIT + 30)

DOCUMENT = Path(__file__).parents[2] / "docs" / "ftp-matrix.rst"
PAYLOAD_SIZE = 20
"""In MiB."""

SPLITTER = 2121
SPLIT = f"""\
table inet split {{
    chain output {{
        type nat hook output priority -100;
        tcp dport {ftp_servers.FTP} meta mark != {ftp_splitter.MARK} redirect to :{SPLITTER}
    }}
}}
"""


@dataclass(frozen=True)
class Ground:
    """Where the visits to one server take place; *address*, *pasv* and *synch* are as in Visit."""

    client: Host
    server: Site
    address: str
    pasv: str
    files: Path
    synch: bool
    splits: bool

    def visit(self, cell: Cell, directory: Path, payload: Payload) -> None:
        client = Site(self.client, directory, self.server.need)
        meeting = Meeting(client, self.server, self.address, payload)
        try:
            with self._split() if cell.split and self.splits else ExitStack():
                cell.client.visit(Visit(meeting, cell.mode, self.files, self.pasv, self.synch))
        finally:
            (self.files / "there").unlink(missing_ok=True)

    @contextmanager
    def _split(self) -> Iterator[None]:
        """Lead the client's control connections through the splitter, which nobody notices."""
        nft = self.server.need("nft")
        self.client.run([nft, "-f", "-"], stdin=SPLIT)
        yield
        self.client.run([nft, "delete", "table", "inet", "split"])


def start(
    kind: Server, client: Host, server: Site, address: str, pasv: str, splits: bool
) -> Ground:
    files = ftp_servers.start(kind, server)
    splitter = client.popen([sys.executable, ftp_splitter.__file__, str(SPLITTER), address])
    client.wait_listening(SPLITTER, program=splitter)
    return Ground(client, server, address, pasv, files, kind.synch, splits)


@pytest.fixture(scope="module")
def payload(tmp_path_factory: pytest.TempPathFactory) -> Payload:
    return write_payload(tmp_path_factory.mktemp("payload") / "payload", PAYLOAD_SIZE)


@pytest.fixture(scope="module")
def direct(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    need: Callable[[str], str],
) -> Iterator[Ground]:
    """Two IPv4 hosts."""
    with Network() as network:
        client, server = network.host("client"), network.host("server")
        network.link(client, server, ["192.0.2.2/24"], ["192.0.2.80/24"])
        site = Site(server, tmp_path_factory.mktemp("server"), need)
        kind = request.param
        yield start(kind, client, site, "192.0.2.80", "227", splits=kind.joins)


@contextmanager
def relaying(
    kind: Server, directory: Path, need: Callable[[str], str], by: Sequence[str] = ()
) -> Iterator[Ground]:
    """An IPv6-only client, and an IPv4-only server behind ``faithd ftp``, started *by* another."""
    with Network() as network:
        lab = three_hosts(network)
        faithd = Faithd(lab.gateway, directory / "faithd.log", "-P", lab.prefix, "ftp", by=by)
        faithd.wait_said("serving")
        site = Site(lab.server, directory, need)
        yield start(kind, lab.client, site, lab.mapped(), "502", splits=True)
        assert faithd.stop() == 0


@pytest.fixture(scope="module")
def relayed(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    need: Callable[[str], str],
) -> Iterator[Ground]:
    """The ground of a server behind a faithd."""
    with relaying(request.param, tmp_path_factory.mktemp("server"), need) as ground:
        yield ground


@pytest.fixture(scope="module")
def without_bpf(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    need: Callable[[str], str],
) -> Iterator[Ground]:
    """The ground of a server behind a faithd that may not use BPF."""
    need(WITHOUT_BPF[0])
    directory = tmp_path_factory.mktemp("server")
    with relaying(request.param, directory, need, WITHOUT_BPF) as ground:
        yield ground


def each_cell(ground: str, *, often: bool = False) -> pytest.MarkDecorator:
    """Do the test with each cell, on the *ground* of its server, some of them *often*."""

    def case(cell: Cell) -> ParameterSet:
        marks = () if often and cell.often else (pytest.mark.matrix,)
        return pytest.param(cell.server, cell, id=cell.id, marks=marks)

    return pytest.mark.parametrize(
        (ground, "cell"), [case(cell) for cell in ftp_matrix.POSSIBLE], indirect=[ground]
    )


@netns
@peers
@visit
@each_cell("direct")
def test_direct(direct: Ground, cell: Cell, tmp_path: Path, payload: Payload) -> None:
    direct.visit(cell, tmp_path, payload)


@netns
@peers
@visit
@each_cell("relayed", often=True)
def test_relayed(relayed: Ground, cell: Cell, tmp_path: Path, payload: Payload) -> None:
    relayed.visit(cell, tmp_path, payload)


@netns
@peers
@visit
@pytest.mark.parametrize(
    ("without_bpf", "cell"),
    [
        pytest.param(cell.server, cell, id=cell.id)
        for cell in ftp_matrix.POSSIBLE
        if cell.often and cell.mode == FTPS
    ],
    indirect=["without_bpf"],
)
def test_encrypted_without_bpf(
    without_bpf: Ground, cell: Cell, tmp_path: Path, payload: Payload
) -> None:
    without_bpf.visit(cell, tmp_path, payload)


def test_the_document_has_the_matrix() -> None:
    assert ftp_matrix.table(lambda cell: cell.passed) in DOCUMENT.read_text()

from __future__ import annotations

import threading
from contextlib import contextmanager
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import TYPE_CHECKING

import pytest

from faith.cli.demo import servers, visits
from faith.cli.demo.visits import VisitError

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = "127.0.0.1"
SMALL = 3 << 20


@contextmanager
def serving(handler: type[BaseRequestHandler]) -> Iterator[int]:
    """The port that *handler* serves."""
    with ThreadingTCPServer((HERE, 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little data, and servers that see us as we are: no relay is in between."""
    monkeypatch.setattr(visits, "GATEWAY_V4", HERE)
    for module in (visits, servers):
        monkeypatch.setattr(module, "BULK", SMALL)


def test_a_dialogue(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(servers.Dialogue) as port:
        monkeypatch.setattr(visits, "DIALOGUE", port)
        said = visits.dialogue(HERE)
    assert said == (
        "This is 127.0.0.1, which has no IPv6 at all.",
        "login: kame",
        "Welcome, kame. To me you are 127.0.0.1.",
        "$ dance",
        "dance: not here, this is a demo. Try exit.",
        "$ exit",
        "Good bye.",
    )


def test_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(servers.Page) as port:
        monkeypatch.setattr(visits, "PAGE", port)
        assert visits.page(HERE) == ("GET / gives 200 OK: A page of 127.0.0.1, for 127.0.0.1.",)


def test_much_data_each_way(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(servers.Sink) as sink, serving(servers.Source) as source:
        monkeypatch.setattr(visits, "SINK", sink)
        monkeypatch.setattr(visits, "SOURCE", source)
        assert visits.send_much(HERE)[0].startswith("sent 3 MiB in ")
        assert visits.receive_much(HERE)[0].startswith("received 3 MiB in ")


class Wrong(BaseRequestHandler):
    """Says the same to all, and never what they came for."""

    def handle(self) -> None:
        self.request.sendall(b"What? login: Again? $ And again? $ No.\r\n\r\n")


@pytest.mark.parametrize("visit", visits.VISITS, ids=lambda visit: visit.name)
def test_another_answer_is_no_success(monkeypatch: pytest.MonkeyPatch, visit: visits.Visit) -> None:
    with serving(Wrong) as port:
        for name in ("SINK", "SOURCE", "DIALOGUE", "PAGE"):
            monkeypatch.setattr(visits, name, port)
        with pytest.raises((VisitError, OSError)):
            visit.go(HERE)

"""The answers of the admin listener, octet by octet: pages, headers, methods and who may read."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from faith.daemon.config.listener_access import EVERYBODY, AdminAccess
from faith.daemon.observe import health, own_numbers
from faith.daemon.observe.exposition import Exposition
from faith.daemon.observe.health import RelayHealth
from faith.daemon.observe.process_slots import ProcessSlots
from faith.daemon.services import page_files
from faith.daemon.services.admin_pages import SAFE, Pages
from faith.kernel.shared.shared_counters import Area
from tests.test_admin_access import BY_TOKEN, TOKEN

if TYPE_CHECKING:
    from faith.daemon.services.latest_report import LatestReport

SLOTS = ProcessSlots(Area([health.LAYOUT, own_numbers.LAYOUT], 1), [])


class Latest:
    """A report that comes when it is asked for."""

    text = b""

    def __init__(self, news: bytes) -> None:
        self._news = news

    async def refresh(self) -> None:
        self.text = self._news


def with_report(news: bytes, access: AdminAccess = EVERYBODY) -> Pages:
    """The pages of a daemon that reports *news*."""
    condition = RelayHealth([0] * health.LAYOUT.size)
    report = cast("LatestReport", Latest(news))
    return Pages(Exposition(SLOTS), condition, report, page_files.read(), access)


def pages(access: AdminAccess = EVERYBODY) -> tuple[Pages, RelayHealth]:
    told = RelayHealth([0] * health.LAYOUT.size)
    return Pages(Exposition(SLOTS), told, access=access), told


def ask(pages: Pages, line: str, *headers: str) -> tuple[int, dict[str, str], str]:
    head = "\r\n".join([line, *headers, "", ""]).encode()
    head_answered, _, body = asyncio.run(pages.answer(head)).decode().partition("\r\n\r\n")
    status, *lines = head_answered.split("\r\n")
    return int(status.split()[1]), dict(line.split(": ", 1) for line in lines), body


def test_there_are_three_pages() -> None:
    told, _ = pages()
    status, headers, body = ask(told, "GET /metrics HTTP/1.1")
    assert status == 200
    assert headers["Content-Length"] == str(len(body))
    assert "# TYPE faith_workers gauge" in body
    assert ask(told, "GET /healthz HTTP/1.1")[::2] == (200, "alive\n")
    status, _, body = ask(told, "GET / HTTP/1.1")
    assert (status, body) == (404, "/metrics\n/healthz\n/readyz\n")


def test_readiness_follows_the_condition_and_says_what_is_wanting() -> None:
    told, state = pages()
    state.steered(["route"], 1)
    assert ask(told, "GET /readyz HTTP/1.1")[::2] == (503, "no worker serves\n")
    state.serving(1, 0)
    assert ask(told, "GET /readyz?from=probe HTTP/1.0")[::2] == (200, "ready\n")
    state.drain()
    assert ask(told, "GET /readyz HTTP/1.1")[::2] == (503, "draining\n")


def test_a_head_has_no_body_and_nothing_can_be_changed() -> None:
    told, _ = pages()
    status, headers, body = ask(told, "HEAD /healthz HTTP/1.1")
    assert (status, headers["Content-Length"], body) == (200, "6", "")
    assert ask(told, "POST /metrics HTTP/1.1")[0] == 405


def test_the_accept_header_chooses_the_form() -> None:
    told, _ = pages()
    accept = "accept: application/openmetrics-text; version=1.0.0"
    _, headers, body = ask(told, "GET /metrics HTTP/1.1", "Host: here", accept)
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert body.endswith("# EOF\n")


@pytest.mark.parametrize("head", [b"\r\n\r\n", b"\xff\x00\r\n\r\n", b"GET\r\n\r\n"])
def test_nonsense_finds_nothing(head: bytes) -> None:
    told, _ = pages()
    assert asyncio.run(told.answer(head)).startswith(b"HTTP/1.1 404 ")


def test_the_page_and_its_files_come_with_their_types() -> None:
    told = with_report(b"{}")
    for path, (content, content_type) in page_files.read().items():
        status, headers, body = ask(told, f"GET {path} HTTP/1.1")
        assert (status, headers["Content-Type"]) == (200, content_type)
        assert body.encode() == content
    assert ask(told, "POST /page.js HTTP/1.1")[0] == 405


def test_the_report_is_asked_for_and_is_json() -> None:
    status, headers, body = ask(with_report(b'{"schema":1}'), "GET /status.json HTTP/1.1")
    assert (status, headers["Content-Type"], body) == (200, "application/json", '{"schema":1}')
    assert ask(with_report(b""), "GET /status.json HTTP/1.1")[0] == 503


def test_without_a_report_there_is_no_page_either() -> None:
    told, _ = pages()
    for path in ("/", "/page.js", "/status.json"):
        assert ask(told, f"GET {path} HTTP/1.1")[0] == 404


@pytest.mark.parametrize("path", ["/", "/page.js", "/status.json", "/metrics", "/readyz", "/none"])
def test_every_answer_tells_the_browser_to_be_careful(path: str) -> None:
    _, headers, _ = ask(with_report(b"{}"), f"GET {path} HTTP/1.1")
    assert {*SAFE} <= {f"{name}: {value}" for name, value in headers.items()}
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "path", ["/", "/page.css", "/page.js", "/status.json", "/metrics", "/none"]
)
def test_a_token_is_needed_for_all_but_health(path: str) -> None:
    told = with_report(b"{}", BY_TOKEN)
    status, headers, body = ask(told, f"GET {path} HTTP/1.1")
    assert (status, headers["WWW-Authenticate"].split()[0]) == (401, "Bearer")
    assert body.startswith("the token is needed")
    allowed = ask(told, f"GET {path} HTTP/1.1", f"authorization:  Bearer {TOKEN} ")[0]
    assert allowed == (404 if path == "/none" else 200)
    assert ask(told, "GET /healthz HTTP/1.1")[::2] == (200, "alive\n")


def test_what_may_not_be_read_is_not_even_asked_for() -> None:
    told = with_report(b"{}", BY_TOKEN)
    ask(told, "GET /status.json HTTP/1.1")
    assert told.status() == b""

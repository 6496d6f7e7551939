"""The answers of the admin listener: the page, ``/status.json``, ``/metrics`` and health."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from faith.daemon.config.listener_access import EVERYBODY
from faith.daemon.services.admin_access import Caller

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from faith.daemon.config.listener_access import AdminAccess
    from faith.daemon.observe.exposition import Exposition
    from faith.daemon.observe.health import Health
    from faith.daemon.services.latest_report import LatestReport
    from faith.daemon.services.page_files import PageFiles

_PLAIN = "text/plain; charset=utf-8"
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'"
)
SAFE = (
    f"Content-Security-Policy: {_POLICY}",
    "Cross-Origin-Opener-Policy: same-origin",
    "Cross-Origin-Resource-Policy: same-origin",
    "Referrer-Policy: no-referrer",
    "X-Content-Type-Options: nosniff",
    "X-Frame-Options: DENY",
)
"""Headers of every response: a browser takes scripts and styles from this listener alone, and shows
nothing of it in another site's page."""


class Response(NamedTuple):
    """An HTTP response: status, body, content type and further *headers*."""

    status: HTTPStatus
    body: bytes
    content_type: str = _PLAIN
    headers: tuple[str, ...] = ()

    def message(self, *, head_only: bool) -> bytes:
        """Return the response as octets of HTTP/1.1, without its body if *head_only*."""
        lines = (
            f"HTTP/1.1 {self.status.value} {self.status.phrase}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(self.body)}",
            "Cache-Control: no-store",
            "Connection: close",
            *SAFE,
            *self.headers,
        )
        head = "".join(f"{line}\r\n" for line in lines) + "\r\n"
        return head.encode() + (b"" if head_only else self.body)


class Pages:
    """The pages of the listener: *exposition* of the metrics, the *condition* of the daemon and, if
    it makes any, its latest *report*, with the *files* of the page that shows it.

    *access* says who may read them.
    """

    def __init__(
        self,
        exposition: Exposition,
        condition: Health,
        report: LatestReport | None = None,
        files: PageFiles | None = None,
        access: AdminAccess = EVERYBODY,
    ) -> None:
        self._exposition = exposition
        self._condition = condition
        self._report = report
        self._files = files if files and report else {}
        self._access = access
        self._pages: dict[str, Callable[[str], Response]] = {
            "/metrics": self._metrics,
            "/healthz": self._health,
            "/readyz": self._readiness,
        }
        if report:
            self._pages["/status.json"] = self._status

    async def answer(self, head: bytes, *, certified: bool = False) -> bytes:
        """Return the whole response to a request, of which *head* ends with its empty line.

        It is *certified* if the client showed a certificate that TLS has verified.
        """
        first, *lines = head.decode("latin-1").split("\r\n")
        method, _, rest = first.partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        headers = _headers(lines)
        caller = Caller(headers.get("authorization", ""), certified)
        if lacks := caller.lacks(self._access, path):
            response = Response(lacks.status, f"{lacks.text}\n".encode(), headers=lacks.headers)
        else:
            if self._report and self._shows_report(path):
                await self._report.refresh()
            response = self._respond(method, path, headers.get("accept", ""))
        return response.message(head_only=method == "HEAD")

    def _shows_report(self, path: str) -> bool:
        return path == "/status.json" or (path == "/readyz" and self._condition.failing_probes > 0)

    def _respond(self, method: str, path: str, accept: str) -> Response:
        page = self._pages.get(path)
        if page is None and path not in self._files:
            return plain(HTTPStatus.NOT_FOUND, *self._pages)
        if method not in ("GET", "HEAD"):
            return plain(HTTPStatus.METHOD_NOT_ALLOWED, "only GET")
        return page(accept) if page else Response(HTTPStatus.OK, *self._files[path])

    def _metrics(self, accept: str) -> Response:
        body, content_type = self._exposition.text(accept)
        return Response(HTTPStatus.OK, body, content_type)

    def _health(self, accept: str) -> Response:
        return plain(HTTPStatus.OK, "alive")

    def _readiness(self, accept: str) -> Response:
        obstacles = list(self._condition.obstacles())
        if self._report and self._condition.failing_probes:
            obstacles += self._report.failed_probes()
        if obstacles:
            return plain(HTTPStatus.SERVICE_UNAVAILABLE, *obstacles)
        return plain(HTTPStatus.OK, "ready")

    def status(self) -> bytes:
        """Return the latest report as JSON; b"" before there is one."""
        return self._report.text if self._report else b""

    def _status(self, accept: str) -> Response:
        if text := self.status():
            return Response(HTTPStatus.OK, text, "application/json")
        return plain(HTTPStatus.SERVICE_UNAVAILABLE, "the daemon does not say what it does")


def plain(status: HTTPStatus, *lines: str) -> Response:
    """Return a response of *lines* of text."""
    return Response(status, "".join(f"{line}\n" for line in lines).encode())


def _headers(lines: list[str]) -> Mapping[str, str]:
    """Return the values of a request's header *lines* by their names in small letters."""
    parts = (line.partition(":") for line in lines)
    return {name.lower(): value.strip() for name, _, value in parts}

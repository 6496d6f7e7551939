"""A real Prometheus on a host of the lab, which scrapes a faithd there every second."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from faith.lab import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from faith.lab import Host

PORT = 9090
TARGET = "[::1]:9064"
RULES = Path(__file__).parents[2] / "contrib/prometheus/faith.rules.yml"
CONFIGURATION = f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{RULES}"]
scrape_configs:
  - job_name: faith
    static_configs: [{{targets: ["{TARGET}"]}}]
"""


class Prometheus:
    """The program, as *need* finds it, with its files in *directory*; it has scraped once."""

    def __init__(self, host: Host, directory: Path, need: Callable[[str], str]) -> None:
        self._host = host
        file = directory / "prometheus.yml"
        file.write_text(CONFIGURATION)
        with (directory / "prometheus.log").open("wb") as log:
            self._program = host.popen(
                [
                    need("prometheus"),
                    f"--config.file={file}",
                    f"--storage.tsdb.path={directory / 'tsdb'}",
                    f"--web.listen-address=127.0.0.1:{PORT}",
                ],
                stderr=log,
            )
        wait_until(self._is_ready, 20, "Prometheus")
        wait_until(lambda: self.query("up") and self.target["health"] != "unknown", 20, "a scrape")

    @property
    def target(self) -> Any:
        """The state of the target: health, lastError, lastScrapeDuration."""
        (found,) = self._ask("targets")["activeTargets"]
        return found

    def query(self, query: str) -> list[Any]:
        """Return the result of an instant *query*: a list of metrics with a value each."""
        result: list[Any] = self._ask("query", query=query)["result"]
        return result

    def rules(self) -> list[Any]:
        """Return the alerts, each with its health."""
        groups = self._ask("rules")["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def stop(self) -> None:
        """End it."""
        self._program.terminate()
        self._program.wait(20)

    def _is_ready(self) -> bool:
        """Return whether it has read its files; until then it answers nothing else."""
        return self._host.is_listening(PORT) and self._get("/-/ready")[0] == 200

    def _ask(self, what: str, **words: str) -> Any:
        status, text = self._get(f"/api/v1/{what}?{urlencode(words)}")
        assert status == 200, text
        return json.loads(text)["data"]

    def _get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
        connection.sock = self._host.call(lambda: socket.create_connection(("127.0.0.1", PORT), 10))
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()

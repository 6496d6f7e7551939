"""The dashboard of contrib/grafana, as tests read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[1] / "contrib/grafana/faith.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [
    (panel["title"], target["refId"], target["expr"])
    for panel in PANELS
    for target in panel["targets"]
]
"""The title of each panel, with each of its queries: its name there, and the expression."""


def filled(query: str, window: str = "10s") -> str:
    """Return *query* with the variables as Grafana fills them in, all gateways chosen."""
    for variable, value in {
        "$job": ".*",
        "$instance": ".*",
        "$__rate_interval": window,
        "$__interval": window,
    }.items():
        query = query.replace(variable, value)
    return query

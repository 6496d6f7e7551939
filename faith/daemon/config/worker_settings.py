"""The settings of a worker besides its policy, which the supervisor sends when they change."""

from __future__ import annotations

from dataclasses import dataclass

# msgspec looks the annotations up when it decodes.
from faith.daemon.observe.records import Recording  # noqa: TC001
from faith.relay.tcp.relay_settings import Settings as RelaySettings  # noqa: TC001
from faith.translation.ports import Ports  # noqa: TC001


@dataclass(frozen=True)
class WorkerSettings:
    """The *relay*'s settings, the ports that have a *local* server, and how sessions
    are recorded."""

    relay: RelaySettings
    recording: Recording
    local: Ports
    log: str

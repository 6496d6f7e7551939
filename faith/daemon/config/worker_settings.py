"""What a worker relays by, apart from its policy: carried to it when that changes."""

from __future__ import annotations

from dataclasses import dataclass

# msgspec looks the annotations up when it decodes.
from faith.daemon.observe.records import Recording  # noqa: TC001
from faith.relay.tcp.relay_settings import Settings as RelaySettings  # noqa: TC001
from faith.translation.ports import Ports  # noqa: TC001


@dataclass(frozen=True)
class Orders:
    """The *relay*'s settings, the ports that have a *local* server, and how it keeps its *log*."""

    relay: RelaySettings
    recording: Recording
    local: Ports
    log: str

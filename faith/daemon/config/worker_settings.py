"""The settings of a worker besides its policy, which the supervisor sends when they change."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from faith.daemon.observe.records import Recording
from faith.relay.tcp.admission import Limits
from faith.relay.tcp.relay_settings import Settings as RelaySettings
from faith.translation.ports import Ports

_PORTS = ("ftp", "rsh", "rlogin", "proxy_v1", "proxy_v2", "inward_ftp")


@dataclass(frozen=True)
class Orders:
    """The *relay*'s settings, the ports that have a *local* server, and how sessions
    are recorded."""

    relay: RelaySettings
    recording: Recording
    local: Ports
    log: str

    def dumps(self) -> str:
        """Return the settings as text, for :meth:`loads` in another process."""
        relay = asdict(self.relay) | {key: getattr(self.relay, key).ranges for key in _PORTS}
        return json.dumps([relay, asdict(self.recording), self.local.ranges, self.log])

    @classmethod
    def loads(cls, dumped: str) -> Orders:
        """Parse the text of :meth:`dumps`."""
        relay, recording, local, log = json.loads(dumped)
        relay |= {key: _ports(relay[key]) for key in _PORTS}
        relay["limits"] = Limits(**relay["limits"])
        return cls(RelaySettings(**relay), Recording(**recording), _ports(local), log)


def _ports(ranges: list[list[int]]) -> Ports:
    return Ports((first, last) for first, last in ranges)

"""The settings of the kernel path: which ports go by it, from where, how many flows, how long."""

from __future__ import annotations

from dataclasses import dataclass

from faith.errors import ConfigError
from faith.translation.ports import Ports
from faith.translation.shares import CLIENT_LENGTH

LEAST_TCP_EST = 7440.0
"""Seconds: the least idle time of an established connection (RFC 5382 REQ-5, 2 h 4 min)."""
LEAST_TCP_TRANS = 240.0
"""Seconds: the least idle time of a connection that both sides close (RFC 5382 REQ-5, 4 min)."""
LEAST_TCP_SYN = 6.0
"""Seconds: the least time that an unanswered SYN is kept (RFC 6146 §4, TCP_INCOMING_SYN)."""
LEAST_MSS, MOST_MSS = 536, 65495
"""The MSS that every IPv4 host takes (RFC 9293 §3.7.1), and what fits into the longest packet."""
MOST_FLOWS = 1 << 22
"""The longest table of flows: about 1.5 GB of the kernel's memory."""
LEAST_PORT = 1024
"""The first port that an unprivileged client may have; rsh and its kin trust those below it."""

ADDRESS_PORTS = Ports([(LEAST_PORT, 65535)])
SHARED_PORTS = Ports([(61000, 65535)])
"""Above the ports that Linux gives to sockets by default (ip_local_port_range, 32768-60999)."""


@dataclass(frozen=True)
class FlowSettings:
    """Settings of the flows of the kernel path; times in seconds, limits 0 for none.

    *services* are the destination ports that go by the kernel path.  *addresses* are IPv4 addresses
    as numbers, which belong to flows alone: a flow from one of them has a port of *address_ports*,
    a flow from another address of the gateway has one of *shared_ports*.  *mss* is the largest
    maximum segment size that a SYN may carry to either side, 0 for what the MTUs allow.

    The table has *limit* flows, *half_open* of them without the server's answer, and
    *flows_per_client* of one client.  *rate* and *rate_per_client* are new flows a second; as many
    as come in *burst* seconds may come at once.  A client is all IPv6 addresses with the first
    *client_length* bits in common.

    A flow without packets ends after *tcp_syn* while the server has not answered, after *tcp_trans*
    once both sides have sent FIN, or one a RST that the other may not have accepted, and else, half
    closed or not, after *tcp_est* (RFC 6146 §3.5.2.2, RFC 5382 REQ-5).  Its source port is not used
    again for *tcp_trans*.  No flow lasts longer than *lifetime*.  Raises ConfigError.
    """

    services: Ports
    addresses: tuple[int, ...] = ()
    address_ports: Ports = ADDRESS_PORTS
    shared_ports: Ports = SHARED_PORTS
    mss: int = 0
    limit: int = 65536
    half_open: int = 4096
    flows_per_client: int = 0
    rate: float = 0.0
    rate_per_client: float = 0.0
    tcp_syn: float = 75.0
    tcp_trans: float = LEAST_TCP_TRANS
    tcp_est: float = LEAST_TCP_EST
    lifetime: float = 0.0
    client_length: int = CLIENT_LENGTH
    burst: float = 5.0

    def __post_init__(self) -> None:
        """Raise ConfigError, whose message begins with the name of the field."""
        least = {
            "tcp_est": (LEAST_TCP_EST, "RFC 5382 REQ-5"),
            "tcp_trans": (LEAST_TCP_TRANS, "RFC 5382 REQ-5"),
            "tcp_syn": (LEAST_TCP_SYN, "RFC 6146 section 4"),
        }
        for name, (seconds, source) in least.items():
            if getattr(self, name) < seconds:
                raise ConfigError(f"{name}: must be at least {seconds:g} seconds ({source})")
        for name in ("address_ports", "shared_ports"):
            if not len(getattr(self, name)):
                raise ConfigError(f"{name}: name at least one port")
        if self.address_ports.ranges[0][0] < LEAST_PORT:
            raise ConfigError(
                f"address_ports: must be {LEAST_PORT} or more: servers trust clients with ports"
                " below that"
            )
        if self.mss and not LEAST_MSS <= self.mss <= MOST_MSS:
            raise ConfigError(
                f"mss: must be from {LEAST_MSS} to {MOST_MSS}, or 0 for what the MTUs allow"
            )
        for name in ("limit", "half_open"):
            if not 1 <= getattr(self, name) <= MOST_FLOWS:
                raise ConfigError(f"{name}: must be from 1 to {MOST_FLOWS}")
        if not 1 <= self.client_length <= 128:
            raise ConfigError("client_length: must be from 1 to 128")

    def ports(self, source: int) -> Ports:
        """Return the ports that flows from the IPv4 address *source* may have."""
        return self.address_ports if source in self.addresses else self.shared_ports

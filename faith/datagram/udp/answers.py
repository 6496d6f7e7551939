"""ICMP errors about answers to clients, translated for the sender of the answer (RFC
5508 REQ-5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faith.datagram import icmp
from faith.datagram.packet import UDP
from faith.datagram.report import pass_on, quoted, reporter_v6
from faith.datagram.udp.message import PROTOCOL, as_sent, ports
from faith.datagram.udp.paths import key_v6
from faith.datagram.udp.udp_v4_to_v6 import key_v4
from faith.kernel.sockets.udp_sockets import own_address
from faith.translation.reasons import OWN
from faith.translation.v4_to_v6 import admit_from_v4

if TYPE_CHECKING:
    from faith.datagram.packet import Packet
    from faith.datagram.send import Send
    from faith.translation.destination import Policy
    from faith.translation.udp.flows import Flows


def answer_error_v6(packet: Packet, flows: Flows, policy: Policy) -> Send | None:
    """Translate an ICMPv6 error about an answer to an IPv6 client, for the IPv4 server; or None.

    *flows* are those of IPv6 clients.
    """
    found = quoted(icmp.V6, packet, UDP)
    prefix = policy.prefixes.find(found[0].source) if found else None
    if found is None or prefix is None:
        return None
    answer, translated = found
    port, client_port = ports(answer)
    client, server = answer.destination, prefix.unmap(answer.source)
    verdict = policy.admit(client, server, prefix, PROTOCOL)
    flow = flows.find(key_v6((client, client_port), 0, prefix, verdict.source4))
    if flow is None or server not in flow.peers or verdict.refused not in (None, OWN):
        return None
    source = flow.ends.source
    ours = own_address(server) if source is None else source
    if ours is None:
        return None
    sent = as_sent(answer, (server, port), (ours, flow.ends.port))
    reporter = source if packet.source == client else policy.maps.to_v4(packet.source, PROTOCOL)
    return pass_on(icmp.V4, translated, sent, reporter, packet)


def answer_error_v4(packet: Packet, flows: Flows, policy: Policy) -> Send | None:
    """Translate an ICMP error about an answer to an IPv4 client, for the IPv6 host; or None.

    *flows* are those of IPv4 clients.
    """
    found = quoted(icmp.V4, packet, UDP)
    if found is None:
        return None
    answer, translated = found
    port, client_port = ports(answer)
    client, mapped = (answer.destination, client_port), (answer.source, port)
    verdict = admit_from_v4(policy, client[0], *mapped, PROTOCOL)
    if verdict.refused or verdict.source is None:
        return None
    flow = flows.find(key_v4(client, mapped, (verdict.server, verdict.port), verdict.source))
    prefix = policy.prefixes.find(verdict.source)
    if flow is None or prefix is None:
        return None
    sent = as_sent(answer, flow.ends.host, flow.ends.source)
    reporter = reporter_v6(packet.source, prefix, policy)
    return pass_on(icmp.V6, translated, sent, reporter, packet)
